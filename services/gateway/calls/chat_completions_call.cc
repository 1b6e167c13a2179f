#include "services/gateway/calls/chat_completions_call.h"

#include <utility>

#include "common/status/status_macros.h"
#include "services/gateway/calls/http_generation_call.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/openai/chat_answer.h"
#include "services/gateway/openai/chat_request.h"

namespace baton::gateway {
namespace {

absl::StatusOr<PreparedGeneration> PrepareChat(const GatewayContext& context,
                                               const HttpRequest& http_request,
                                               const RequestScope& scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  const ServedModel& model = context.model;
  ASSIGN_OR_RETURN(const ChatRequest request,
                   ParseChatRequest(http_request.body, context.validator));
  RETURN_IF_ERROR(CheckModelName(model, request.model));
  RETURN_IF_ERROR(CheckToolFields(model, request.tools));
  ASSIGN_OR_RETURN(const AdmittedParams params, context.validator.Admit(request.params));
  ASSIGN_OR_RETURN(
      const EncodedPrompt prompt,
      EncodeChat(model, request.input, static_cast<size_t>(context.validator.max_model_len())));

  PreparedGeneration prepared;
  ASSIGN_OR_RETURN(prepared.max_tokens,
                   context.validator.ResolveMaxTokens(params, "messages", prompt.token_ids.size()));
  prepared.choices_per_prompt = params.num_choices;
  prepared.stream = request.stream.stream;
  AppendSequences(model, params, prompt, prepared.max_tokens,
                  {.scope = scope,
                   .split_reasoning = true,
                   .find_tool_calls = request.tools.choice != ToolChoice::kNone,
                   .parallel_tool_calls = request.tools.parallel,
                   .stops = MakeStops(params)},
                  &prepared.sequences);
  ChatAnswerOptions options;
  options.head = MakeAnswerHead(model, scope.id, scope.arrival);
  options.num_choices = params.num_choices;
  options.stream = request.stream;
  options.output = request.output;
  options.include_reasoning = request.include_reasoning;
  options.writes_reasoning = context.reasoning_names.reasoning;
  options.writes_reasoning_content = context.reasoning_names.reasoning_content;
  options.counts_reasoning = model.reasoning != ReasoningFormat::kNone;
  options.logprobs = params.num_top_logprobs.has_value();
  options.prompt_logprobs = params.num_prompt_logprobs.has_value();
  if (request.output.return_token_ids) options.prompt_token_ids = prompt.token_ids;
  prepared.format = std::make_unique<ChatAnswer>(*model.text.tokenizer, std::move(options));
  return prepared;
}

}  // namespace

std::unique_ptr<HttpCall> MakeChatCompletionsCall(const GatewayContext& context,
                                                  HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{
          .route = "/v1/chat/completions", .id_prefix = "chatcmpl-", .prepare = PrepareChat});
}

}  // namespace baton::gateway
