// Template source cut into tokens, with Jinja's whitespace control done.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

enum class TokenKind {
  kText,           // outside tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,  // text: the value, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// The tokens, the last of kind kEnd. As under trim_blocks and lstrip_blocks: a line break right
// after a block or comment goes, and so does white space before one that stands first on its line.
// Errors: InvalidArgument with the line for a tag, comment, text or bracket that is not closed, and
// for a character that begins no token.
absl::StatusOr<std::vector<Token>> LexTemplate(absl::string_view source);

// An InvalidArgument that names the line.
absl::Status TemplateError(int line, absl::string_view message);

}  // namespace baton
