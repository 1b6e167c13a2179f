#include "services/gateway/openai/tokenize_request.h"

#include <utility>

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/chat_request.h"
#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {

absl::StatusOr<TokenizeRequest> ParseTokenizeRequest(absl::string_view body,
                                                     const RequestValidator& validator) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, validator.caps()));
  FieldReader reader(json);
  TokenizeRequest request;
  reader.Read("model", &request.model);
  reader.Read("return_token_strs", &request.return_token_strs);
  const Json* prompt = reader.FindSet("prompt");
  const bool is_chat = reader.FindSet("messages") != nullptr;
  if (is_chat == (prompt != nullptr)) {
    return InvalidField("prompt", "or `messages` is required, not both");
  }
  if (is_chat) {
    // The same fields as those of a chat completion make the same tokens.
    ASSIGN_OR_RETURN(ChatRequest chat, ReadChatRequest(json, validator));
    request.chat = std::move(chat.input);
  } else {
    reader.Read("prompt", &request.prompt);
    reader.Read("add_special_tokens", &request.add_special_tokens);
  }
  RETURN_IF_ERROR(reader.status());
  return request;
}

absl::StatusOr<DetokenizeRequest> ParseDetokenizeRequest(absl::string_view body,
                                                         const RequestCaps& caps) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, caps));
  FieldReader reader(json);
  DetokenizeRequest request;
  reader.Read("model", &request.model);
  if (reader.FindSet("tokens") == nullptr) return InvalidField("tokens", "is required");
  reader.Read("tokens", &request.tokens);
  RETURN_IF_ERROR(reader.status());
  return request;
}

}  // namespace baton::gateway
