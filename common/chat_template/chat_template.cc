#include "common/chat_template/chat_template.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/renderer.h"
#include "common/chat_template/syntax.h"
#include "common/chat_template/template_parser.h"
#include "common/chat_template/value.h"
#include "common/status/status_macros.h"
#include "common/utf8/utf8.h"

namespace baton {

struct ChatTemplate::Compiled {
  ChatTemplateLimits limits;
  Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Create(
    absl::string_view source, const ChatTemplateLimits& limits) {
  if (source.size() > limits.source_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("chat template: ", source.size(), " bytes; at most ", limits.source_bytes));
  }
  if (!IsValidUtf8(source)) return absl::InvalidArgumentError("chat template: not valid UTF-8");
  auto compiled = std::make_unique<Compiled>();
  compiled->limits = limits;
  ASSIGN_OR_RETURN(compiled->block, ParseTemplate(source, limits.nesting));
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(compiled)));
}

absl::StatusOr<std::string> ChatTemplate::Render(const nlohmann::ordered_json& context) const {
  if (!context.is_object()) {
    return absl::InvalidArgumentError("chat template: the context is no object");
  }
  auto value = ValueFromJson(context, compiled_->limits.nesting);
  if (!value.ok()) return Annotate(value.status(), "chat template: context");
  return Renderer(compiled_->limits, *value).Render(compiled_->block);
}

}  // namespace baton
