// Grammars in the EBNF of llama.cpp and xgrammar:
//
//   root  ::= "[" item ("," item)* "]"   # a comment
//   item  ::= [0-9]+ | "x"{2,3} | root
//
// A rule goes on until the next `name ::=`. Literals have the escapes of JSON, \xHH and \UHHHHHHHH;
// classes are those of regular expressions; `.` is any character. Names: letters, digits, `_`, `-`,
// `.`.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/expression.h"

namespace baton::structured {

// Adds the rules and sets the root to `root`. Errors: InvalidArgument naming place and problem, a
// rule that is not defined, or is twice, and no `root`.
absl::Status ParseEbnf(absl::string_view text, Grammar* grammar);

}  // namespace baton::structured
