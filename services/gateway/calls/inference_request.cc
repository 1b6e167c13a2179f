#include "services/gateway/calls/inference_request.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/model/prompt_encoder.h"

namespace baton::gateway {
namespace {

constexpr size_t kMaxRequestIdBytes = 256;

RequestedParams ToRequestedParams(const v1::GenerateRequest& request) {
  RequestedParams params;
  if (request.has_max_tokens()) params.max_tokens = request.max_tokens();
  if (request.has_min_tokens()) params.min_tokens = request.min_tokens();
  if (request.has_temperature()) params.temperature = request.temperature();
  if (request.has_top_p()) params.top_p = request.top_p();
  if (request.has_top_k()) params.top_k = request.top_k();
  if (request.has_min_p()) params.min_p = request.min_p();
  if (request.has_presence_penalty()) params.presence_penalty = request.presence_penalty();
  if (request.has_frequency_penalty()) params.frequency_penalty = request.frequency_penalty();
  if (request.has_repetition_penalty()) params.repetition_penalty = request.repetition_penalty();
  if (request.has_seed()) params.seed = request.seed();
  params.stop.assign(request.stop().begin(), request.stop().end());
  params.stop_token_ids.assign(request.stop_token_ids().begin(), request.stop_token_ids().end());
  params.ignore_eos = request.ignore_eos();
  if (request.has_num_top_logprobs()) params.num_top_logprobs = request.num_top_logprobs();
  if (request.has_num_prompt_logprobs()) {
    params.num_prompt_logprobs = request.num_prompt_logprobs();
  }
  params.num_top_logprobs_field = "num_top_logprobs";
  return params;
}

absl::StatusOr<EncodedPrompt> EncodeChatPrompt(const GatewayContext& context,
                                               const v1::ChatPrompt& chat) {
  RETURN_IF_ERROR(context.validator.CheckMessageCount(chat.messages_size()));
  ChatInput input;
  input.messages = Json::array();
  for (const v1::ChatMessage& message : chat.messages()) {
    if (message.role() != "system" && message.role() != "user" && message.role() != "assistant" &&
        message.role() != "tool") {
      return InvalidField("chat.messages.role", "must be system, user, assistant or tool");
    }
    input.messages.push_back({{"role", message.role()}, {"content", message.content()}});
  }
  return EncodeChat(context.model, input, static_cast<size_t>(context.validator.max_model_len()));
}

absl::StatusOr<EncodedPrompt> EncodePrompt(const GatewayContext& context,
                                           const v1::GenerateRequest& request) {
  EncodedPrompt encoded;
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText: {
      ASSIGN_OR_RETURN(encoded.token_ids,
                       EncodeText(context.model, request.text(), /*add_special_tokens=*/true,
                                  static_cast<size_t>(context.validator.max_model_len())));
      return encoded;
    }
    case v1::GenerateRequest::kTokens: {
      const std::vector<int64_t> ids(request.tokens().token_ids().begin(),
                                     request.tokens().token_ids().end());
      ASSIGN_OR_RETURN(encoded.token_ids, context.validator.AdmitPromptTokens("tokens", ids));
      return encoded;
    }
    case v1::GenerateRequest::kChat:
      return EncodeChatPrompt(context, request.chat());
    default:
      return InvalidField("prompt", "must be one of text, tokens and chat");
  }
}

}  // namespace

absl::StatusOr<SequenceSpec> PrepareInference(const GatewayContext& context,
                                              const v1::GenerateRequest& request,
                                              const RequestScope& scope) {
  if (request.request_id().size() > kMaxRequestIdBytes) {
    return InvalidField("request_id",
                        absl::StrCat("is longer than ", kMaxRequestIdBytes, " bytes"));
  }
  RETURN_IF_ERROR(CheckModelName(context.model, request.model()));
  ASSIGN_OR_RETURN(const AdmittedParams params,
                   context.validator.Admit(ToRequestedParams(request)));
  ASSIGN_OR_RETURN(const EncodedPrompt prompt, EncodePrompt(context, request));
  ASSIGN_OR_RETURN(const uint32_t max_tokens,
                   context.validator.ResolveMaxTokens(params, "prompt", prompt.token_ids.size()));
  std::vector<SequenceSpec> sequences;
  AppendSequences(
      context.model, params, prompt, max_tokens,
      {.scope = scope, .split_reasoning = request.has_chat(), .stops = MakeStops(params)},
      &sequences);
  return std::move(sequences.front());
}

v1::GenerateResponse MakeGenerateResponse(SequenceUpdate& update) {
  v1::GenerateResponse response;
  response.set_text(std::move(update.content));
  response.set_reasoning_text(std::move(update.reasoning));
  for (v1::GeneratedToken& token : update.tokens) {
    response.add_token_ids(token.token_id());
    if (token.has_logprobs()) *response.add_logprobs() = std::move(*token.mutable_logprobs());
  }
  for (v1::PositionLogprobs& position : update.prompt_logprobs) {
    *response.add_prompt_logprobs() = std::move(position);
  }
  response.set_finish_reason(update.finish_reason);
  response.set_stop_string(std::move(update.stop_string));
  return response;
}

}  // namespace baton::gateway
