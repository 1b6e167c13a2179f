#include "services/gateway/calls/responses_call.h"

#include <utility>

#include "common/status/status_macros.h"
#include "services/gateway/calls/chat_generation.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/responses/responses_answer.h"
#include "services/gateway/responses/responses_request.h"

namespace baton::gateway {
namespace {

constexpr char kResponseIdPrefix[] = "resp_";

absl::StatusOr<PreparedGeneration> PrepareResponse(const GatewayContext& context,
                                                   const HttpRequest& http_request,
                                                   const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(ResponsesRequest request,
                   ParseResponsesRequest(http_request.body, context.validator.caps()));
  const ChatTranslation& translation = request.translation;
  ASSIGN_OR_RETURN(const ChatRequest chat, ReadTranslatedChat(translation, context.validator));
  const RequestScope scope =
      NamedScope(given_scope, http_request, kResponseIdPrefix, chat.request_id);
  PreparedGeneration prepared;
  const auto admitted = AppendChat(context, chat, scope, &prepared);
  if (!admitted.ok()) return InClientsWords(translation, admitted.status());
  request.echoed["temperature"] = admitted->params.temperature;
  request.echoed["top_p"] = admitted->params.top_p;
  prepared.writer = std::make_unique<ResponsesAnswer>(
      ResponsesAnswer::Options{.head = MakeAnswerHead(context.model, scope.id, scope.arrival),
                               .echoed = std::move(request.echoed)});
  return prepared;
}

}  // namespace

std::unique_ptr<HttpCall> MakeResponsesCall(const GatewayContext& context, HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{
          .route = "/v1/responses", .id_prefix = kResponseIdPrefix, .prepare = PrepareResponse});
}

}  // namespace baton::gateway
