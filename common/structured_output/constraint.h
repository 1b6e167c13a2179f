// What an answer's text must look like, as a request says it, and its compilation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/automaton.h"
#include "common/structured_output/compile_budget.h"

namespace baton::structured {

enum class ConstraintKind {
  kJsonObject,  // any JSON object
  kJsonSchema,  // `text` is a JSON schema
  kRegex,       // the whole answer matches `text`
  kChoice,      // the answer is one of `choices`
  kGrammar,     // the answer is a `root` of the EBNF in `text`
};

struct Constraint {
  ConstraintKind kind = ConstraintKind::kJsonObject;
  std::string text;
  std::vector<std::string> choices;
  // Of JSON: see JsonStyle.
  bool compact = false;
  std::optional<std::string> whitespace_pattern;
};

// The same constraint and limits give the same result on every machine. `cost`, if given, is set to
// what it took, also where it is refused: of what came before that. Errors: InvalidArgument, naming
// what is wrong, is not supported or is too large.
absl::StatusOr<Automaton> CompileConstraint(const Constraint& constraint,
                                            const CompileLimits& limits = {},
                                            CompileCost* cost = nullptr);

}  // namespace baton::structured
