// Grammars in the EBNF of llama.cpp and xgrammar:
//
//   root  ::= "[" item ("," item)* "]"   # a comment
//   item  ::= [0-9]+ | "x"{2,3} | root
//   call  ::= <[128806]> %json {"type": "object"}
//
// A rule goes on until the next `name ::=`. Literals have the escapes of JSON, \xHH and \UHHHHHHHH;
// classes are those of regular expressions; `.` is any character. Names: letters, digits, `_`, `-`,
// `.`. `<[N]>` is the token N of those that stand for no text (at most 8 of them); `%json` is an
// instance of the JSON schema that follows it.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/expression.h"

namespace baton::structured {

// Adds the rules and sets the root to `root`. Errors: InvalidArgument naming place and problem, a
// rule that is not defined, or is twice, and no `root`. That a schema matches no text is seen when
// the grammar is compiled, which is refused then.
absl::Status ParseEbnf(absl::string_view text, Grammar* grammar);

}  // namespace baton::structured
