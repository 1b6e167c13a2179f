#include "common/chat_template/token_stream.h"

namespace baton {
namespace {

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "text";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kVariableBegin:
      return "{{";
    case TokenKind::kVariableEnd:
      return "}}";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return absl::StrCat("'", token.text, "'");
  }
}

}  // namespace

absl::Status TokenStream::Unexpected(absl::string_view expected) const {
  return TemplateError(current().line,
                       absl::StrCat("expected ", expected, ", found ", Describe(current())));
}

absl::Status TokenStream::Level::Check() const {
  if (stream_.depth_ <= stream_.max_depth_) return absl::OkStatus();
  return TemplateError(stream_.current().line,
                       absl::StrCat("nested deeper than ", stream_.max_depth_, " levels"));
}

}  // namespace baton
