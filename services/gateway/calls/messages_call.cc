#include "services/gateway/calls/messages_call.h"

#include <cstdint>
#include <string>
#include <utility>

#include "common/status/status_macros.h"
#include "services/gateway/anthropic/anthropic_errors.h"
#include "services/gateway/anthropic/messages_answer.h"
#include "services/gateway/anthropic/messages_request.h"
#include "services/gateway/calls/chat_generation.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/calls/text_call.h"

namespace baton::gateway {
namespace {

constexpr char kMessageIdPrefix[] = "msg_";

absl::StatusOr<PreparedGeneration> PrepareMessages(const GatewayContext& context,
                                                   const HttpRequest& http_request,
                                                   const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(
      const ChatTranslation translation,
      ChatOfMessages(http_request.body, MessagesUse::kAnswer, context.validator.caps()));
  ASSIGN_OR_RETURN(const ChatRequest request, ReadTranslatedChat(translation, context.validator));
  const RequestScope scope =
      NamedScope(given_scope, http_request, kMessageIdPrefix, request.request_id);
  PreparedGeneration prepared;
  const auto chat = AppendChat(context, request, scope, &prepared);
  if (!chat.ok()) return InClientsWords(translation, chat.status());
  prepared.writer = std::make_unique<MessagesAnswer>(
      MessagesAnswer::Options{.head = MakeAnswerHead(context.model, scope.id, scope.arrival),
                              .include_reasoning = request.include_reasoning});
  return prepared;
}

absl::StatusOr<std::string> ComputeCount(const GatewayContext& context,
                                         const HttpRequest& http_request) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(
      const ChatTranslation translation,
      ChatOfMessages(http_request.body, MessagesUse::kCount, context.validator.caps()));
  ASSIGN_OR_RETURN(const ChatRequest request, ReadTranslatedChat(translation, context.validator));
  RETURN_IF_ERROR(CheckModelName(context.model, request.model));
  const auto prompt = EncodeChat(context.model, request.input, SIZE_MAX);
  if (!prompt.ok()) return InClientsWords(translation, prompt.status());
  return DumpJson({{"input_tokens", prompt->token_ids.size()}});
}

}  // namespace

std::unique_ptr<HttpCall> MakeMessagesCall(const GatewayContext& context, HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{.route = "/v1/messages",
                                  .id_prefix = kMessageIdPrefix,
                                  .prepare = PrepareMessages,
                                  .errors = kAnthropicErrors});
}

std::unique_ptr<HttpCall> MakeCountTokensCall(const GatewayContext& context,
                                              HttpExchange& exchange) {
  return std::make_unique<TextCall>(context, exchange,
                                    TextCall::Options{.route = "/v1/messages/count_tokens",
                                                      .compute = ComputeCount,
                                                      .errors = kAnthropicErrors});
}

}  // namespace baton::gateway
