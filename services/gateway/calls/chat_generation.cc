#include "services/gateway/calls/chat_generation.h"

#include "common/status/status_macros.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/model/prompt_encoder.h"

namespace baton::gateway {

absl::StatusOr<AdmittedChat> AppendChat(const GatewayContext& context, const ChatRequest& request,
                                        const RequestScope& scope, PreparedGeneration* prepared) {
  const ServedModel& model = context.model;
  RETURN_IF_ERROR(CheckModelName(model, request.model));
  RETURN_IF_ERROR(CheckToolFields(model, request.tools));
  AdmittedChat chat;
  RequestedParams requested = request.params;
  RETURN_IF_ERROR(ConstrainToCalls(model, request.tools, &requested));
  ASSIGN_OR_RETURN(chat.params, context.validator.Admit(requested));
  ASSIGN_OR_RETURN(chat.prompt, EncodeChat(model, request.input,
                                           context.validator.NumPromptTokensUsed(chat.params)));
  if (RequestValidator::TruncatePrompt(chat.params, &chat.prompt.token_ids)) {
    chat.prompt.reasoning = PromptReasoning::kNone;
  }
  ASSIGN_OR_RETURN(
      prepared->max_tokens,
      context.validator.ResolveMaxTokens(chat.params, "messages", chat.prompt.token_ids.size()));
  prepared->choices_per_prompt = chat.params.num_choices;
  prepared->stream = request.stream.stream;
  prepared->stream_interval = static_cast<uint64_t>(request.stream.interval);
  prepared->id = scope.id;
  RETURN_IF_ERROR(AppendSequences(model, chat.params, chat.prompt, prepared->max_tokens,
                                  {.scope = scope,
                                   .split_reasoning = true,
                                   .find_tool_calls = request.tools.choice != ToolChoice::kNone,
                                   .parallel_tool_calls = request.tools.parallel,
                                   .stops = MakeStops(chat.params)},
                                  &prepared->sequences));
  return chat;
}

}  // namespace baton::gateway
