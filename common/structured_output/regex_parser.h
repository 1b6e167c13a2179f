// Regular expressions, as Python and ECMAScript have them in common, without what no finite
// automaton can do.
//
// Literals, `.`, classes, \d \w \s (ASCII) and their complements, character escapes, groups of all
// kinds that only group, `|`, `* + ? {m,n}` and their lazy forms (the same language). Refused by
// name: look-around, back references, \b, \p, flags, possessive forms, and anchors that do not
// stand at an end of the pattern, of one of its outer alternatives or of a group around such.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/code_point_set.h"
#include "common/structured_output/expression.h"

namespace baton::structured {

struct RegexOptions {
  TextSpelling spelling = TextSpelling::kPlain;
  // The pattern may match anywhere in the text, unless it is anchored (JSON schema); otherwise the
  // whole text must match.
  bool search = false;
};

// Errors: InvalidArgument naming place and problem; the budget's, by way of its status.
absl::StatusOr<ExprId> ParseRegex(absl::string_view pattern, const RegexOptions& options,
                                  Grammar* grammar);

}  // namespace baton::structured
