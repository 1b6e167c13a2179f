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

absl::StatusOr<PreparedGeneration> PrepareMessages(const GatewayContext& context,
                                                   const HttpRequest& http_request,
                                                   const RequestScope& scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(const Json body, ChatBodyOfMessages(http_request.body, MessagesUse::kAnswer));
  ASSIGN_OR_RETURN(const ChatRequest request, ReadChatRequest(body, context.validator));
  PreparedGeneration prepared;
  RETURN_IF_ERROR(AppendChat(context, request, scope, &prepared).status());
  prepared.writer = std::make_unique<MessagesAnswer>(
      MessagesAnswer::Options{.head = MakeAnswerHead(context.model, scope.id, scope.arrival),
                              .include_reasoning = request.include_reasoning});
  return prepared;
}

absl::StatusOr<std::string> ComputeCount(const GatewayContext& context,
                                         const HttpRequest& http_request) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(const Json body, ChatBodyOfMessages(http_request.body, MessagesUse::kCount));
  ASSIGN_OR_RETURN(const ChatRequest request, ReadChatRequest(body, context.validator));
  RETURN_IF_ERROR(CheckModelName(context.model, request.model));
  ASSIGN_OR_RETURN(const EncodedPrompt prompt, EncodeChat(context.model, request.input, SIZE_MAX));
  return DumpJson({{"input_tokens", prompt.token_ids.size()}});
}

}  // namespace

std::unique_ptr<HttpCall> MakeMessagesCall(const GatewayContext& context, HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{.route = "/v1/messages",
                                  .id_prefix = "msg_",
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
