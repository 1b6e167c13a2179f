#include "services/gateway/calls/chat_completions_call.h"

#include <string>
#include <utility>
#include <vector>

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/chat_generation.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/openai/chat_answer.h"
#include "services/gateway/openai/chat_translation.h"

namespace baton::gateway {
namespace {

constexpr char kIdPrefix[] = "chatcmpl-";

ChatAnswerOptions MakeAnswerOptions(const GatewayContext& context, const ChatRequest& request,
                                    const RequestScope& scope) {
  ChatAnswerOptions options;
  options.head = MakeAnswerHead(context.model, scope.id, scope.arrival);
  options.stream = request.stream;
  if (context.force_include_usage) options.stream.ForceUsage();
  options.output = request.output;
  options.include_reasoning = request.include_reasoning;
  options.writes_reasoning = context.reasoning_names.reasoning;
  options.writes_reasoning_content = context.reasoning_names.reasoning_content;
  options.names_calls = request.tools.choice != ToolChoice::kNamed;
  options.counts_reasoning = context.model.reasoning != ReasoningFormat::kNone;
  return options;
}

absl::StatusOr<PreparedGeneration> PrepareOne(const GatewayContext& context,
                                              const HttpRequest& http_request,
                                              const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(const ChatRequest request,
                   ParseChatRequest(http_request.body, context.validator));
  const RequestScope scope = NamedScope(given_scope, http_request, kIdPrefix, request.request_id);
  PreparedGeneration prepared;
  ASSIGN_OR_RETURN(AdmittedChat chat, AppendChat(context, request, scope, &prepared));
  ChatAnswerOptions options = MakeAnswerOptions(context, request, scope);
  options.num_choices = chat.params.num_choices;
  options.logprobs = chat.params.num_top_logprobs.has_value();
  options.prompt_logprobs = chat.params.num_prompt_logprobs.has_value();
  options.echoed = request.echoed;
  if (request.return_prompt_text) options.prompt_text = std::move(chat.prompt.text);
  if (request.output.return_token_ids) options.prompt_token_ids = std::move(chat.prompt.token_ids);
  prepared.writer = std::make_unique<ChatAnswer>(*context.model.text.tokenizer, std::move(options));
  return prepared;
}

absl::StatusOr<PreparedGeneration> PrepareBatch(const GatewayContext& context,
                                                const HttpRequest& http_request,
                                                const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(Json body, ParseBody(http_request.body, context.validator.caps()));
  FieldReader reader(body);
  RETURN_IF_ERROR(RefuseFields(reader, FieldsRefusedInBatches()));
  Json conversations = body.contains("messages") ? std::move(body["messages"]) : Json(nullptr);
  if (!conversations.is_array() || conversations.empty()) {
    return InvalidField("messages", "must be a list of at least one conversation");
  }
  RETURN_IF_ERROR(context.validator.CheckPromptCount(conversations.size()));
  PreparedGeneration prepared;
  ChatAnswerOptions options;
  RequestScope scope = given_scope;
  for (size_t i = 0; i < conversations.size(); ++i) {
    body["messages"] = std::move(conversations[i]);
    ASSIGN_OR_RETURN(const ChatRequest request, ReadChatRequest(body, context.validator));
    scope = NamedScope(given_scope, http_request, kIdPrefix, request.request_id);
    ASSIGN_OR_RETURN(const AdmittedChat chat, AppendChat(context, request, scope, &prepared));
    options = MakeAnswerOptions(context, request, scope);
    options.logprobs = chat.params.num_top_logprobs.has_value();
  }
  options.num_choices = prepared.sequences.size();
  prepared.writer = std::make_unique<ChatAnswer>(*context.model.text.tokenizer, std::move(options));
  return prepared;
}

}  // namespace

std::unique_ptr<HttpCall> MakeChatCompletionsCall(const GatewayContext& context,
                                                  HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{
          .route = "/v1/chat/completions", .id_prefix = kIdPrefix, .prepare = PrepareOne});
}

std::unique_ptr<HttpCall> MakeChatBatchCall(const GatewayContext& context, HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{
          .route = "/v1/chat/completions/batch", .id_prefix = kIdPrefix, .prepare = PrepareBatch});
}

}  // namespace baton::gateway
