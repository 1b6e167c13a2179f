#include "services/gateway/calls/chat_generation.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"

#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/openai/call_constraint.h"

namespace baton::gateway {
namespace {

// Of an answer: names of functions. More than so many are a client that reads none of them.
constexpr char kNotStrictHeader[] = "X-Baton-Not-Strict";
constexpr size_t kMostNames = 16;

// Names of the functions, which are at least one.
std::string Names(const std::vector<UnkeptFunction>& unkept) {
  std::vector<std::string> names;
  for (const UnkeptFunction& function : unkept) {
    if (names.size() == kMostNames) {
      names.emplace_back("...");
      break;
    }
    names.push_back(function.name);
  }
  return absl::StrJoin(names, ", ");
}

// Tells the client and, where requests are logged, whoever runs the server.
void SayUnkept(const GatewayContext& context, const std::string& id,
               const std::vector<UnkeptFunction>& unkept, PreparedGeneration* prepared) {
  if (unkept.empty()) return;
  prepared->headers = {{kNotStrictHeader, Names(unkept)}};
  if (!context.log_requests) return;
  BATON_LOG(INFO) << id << ": not called strictly: " << prepared->headers.back().second << ": "
                  << unkept.front().reason;
}

}  // namespace

absl::StatusOr<AdmittedChat> AppendChat(const GatewayContext& context, const ChatRequest& request,
                                        const RequestScope& scope, PreparedGeneration* prepared) {
  const ServedModel& model = context.model;
  RETURN_IF_ERROR(CheckModelName(model, request.model));
  RETURN_IF_ERROR(CheckToolFields(model, request.tools));
  AdmittedChat chat;
  RequestedParams requested = request.params;
  ASSIGN_OR_RETURN(const std::vector<UnkeptFunction> unkept,
                   ConstrainToCalls({.model = model,
                                     .validator = context.validator,
                                     .continues_message = request.input.continue_final_message},
                                    request.tools, &requested));
  SayUnkept(context, scope.id, unkept, prepared);
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
