#include "services/gateway/calls/chat_completions_call.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/chat_generation.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/openai/chat_answer.h"

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

// What belongs to one prompt, or to a stream, has no place in the answer to several.
absl::Status CheckBatchFields(const ChatRequest& request) {
  if (request.stream.stream) return InvalidField("stream", "cannot be used in a batch");
  if (!request.tools.tools.is_null()) return InvalidField("tools", "cannot be used in a batch");
  if (request.params.num_choices != 1) return InvalidField("n", "must be 1 in a batch");
  if (request.params.num_prompt_logprobs) {
    return InvalidField("prompt_logprobs", "cannot be used in a batch");
  }
  if (request.return_prompt_text) {
    return InvalidField("return_prompt_text", "cannot be used in a batch");
  }
  if (!request.echoed.empty()) return InvalidField("echo", "cannot be used in a batch");
  return absl::OkStatus();
}

absl::StatusOr<PreparedGeneration> PrepareBatch(const GatewayContext& context,
                                                const HttpRequest& http_request,
                                                const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(Json body, ParseJsonObject(http_request.body));
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
    RETURN_IF_ERROR(CheckBatchFields(request));
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
