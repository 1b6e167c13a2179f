#include "services/gateway/calls/inference_request.h"

#include <cstdint>
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
  for (const v1::LogitBias& entry : request.logit_bias()) {
    params.logit_bias.push_back({.token_id = entry.token_id(), .bias = entry.bias()});
  }
  if (request.allowed_token_ids_size() > 0) {
    params.allowed_token_ids.emplace(request.allowed_token_ids().begin(),
                                     request.allowed_token_ids().end());
  }
  params.bad_words.assign(request.bad_words().begin(), request.bad_words().end());
  if (request.has_thinking_token_budget()) {
    params.thinking_token_budget = request.thinking_token_budget();
  }
  params.priority = request.priority();
  params.cache_salt = request.cache_salt();
  params.include_stop = request.include_stop_in_text();
  params.skip_special_tokens = !request.keep_special_tokens();
  return params;
}

absl::StatusOr<RequestedConstraint> ToRequestedConstraint(const v1::TextConstraint& constraint) {
  using structured::ConstraintKind;
  RequestedConstraint requested{.field = "constraint"};
  structured::Constraint& wanted = requested.constraint;
  wanted.compact = constraint.compact();
  switch (constraint.kind_case()) {
    case v1::TextConstraint::kJsonObject:
      if (!constraint.json_object()) return InvalidField("constraint.json_object", "must be true");
      wanted.kind = ConstraintKind::kJsonObject;
      return requested;
    case v1::TextConstraint::kJsonSchema:
      wanted.kind = ConstraintKind::kJsonSchema;
      wanted.text = constraint.json_schema();
      return requested;
    case v1::TextConstraint::kRegex:
      wanted.kind = ConstraintKind::kRegex;
      wanted.text = constraint.regex();
      return requested;
    case v1::TextConstraint::kChoices:
      wanted.kind = ConstraintKind::kChoice;
      wanted.choices.assign(constraint.choices().texts().begin(),
                            constraint.choices().texts().end());
      return requested;
    case v1::TextConstraint::kGrammar:
      wanted.kind = ConstraintKind::kGrammar;
      wanted.text = constraint.grammar();
      return requested;
    case v1::TextConstraint::KIND_NOT_SET:
      break;
  }
  return InvalidField("constraint", "must be of one kind");
}

absl::StatusOr<EncodedPrompt> EncodeChatPrompt(const GatewayContext& context,
                                               const v1::ChatPrompt& chat, size_t max_tokens) {
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
  return EncodeChat(context.model, input, max_tokens);
}

// Of a prompt of more tokens than `max_tokens` some may be missing.
absl::StatusOr<EncodedPrompt> EncodePrompt(const GatewayContext& context,
                                           const v1::GenerateRequest& request, size_t max_tokens) {
  EncodedPrompt encoded;
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText: {
      ASSIGN_OR_RETURN(encoded.token_ids, EncodeText(context.model, request.text(),
                                                     /*add_special_tokens=*/true, max_tokens));
      return encoded;
    }
    case v1::GenerateRequest::kTokens: {
      const std::vector<int64_t> ids(request.tokens().token_ids().begin(),
                                     request.tokens().token_ids().end());
      ASSIGN_OR_RETURN(encoded.token_ids, context.validator.AdmitPromptTokens("tokens", ids));
      return encoded;
    }
    case v1::GenerateRequest::kChat:
      return EncodeChatPrompt(context, request.chat(), max_tokens);
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
  if (request.has_text() && request.text().empty()) {
    return InvalidField("prompt", "must not be empty");
  }
  RequestedParams requested = ToRequestedParams(request);
  if (request.has_constraint()) {
    ASSIGN_OR_RETURN(requested.constraint, ToRequestedConstraint(request.constraint()));
  }
  ASSIGN_OR_RETURN(const AdmittedParams params, context.validator.Admit(requested));
  ASSIGN_OR_RETURN(
      const EncodedPrompt prompt,
      EncodePrompt(context, request, static_cast<size_t>(context.validator.max_model_len())));
  ASSIGN_OR_RETURN(const uint32_t max_tokens,
                   context.validator.ResolveMaxTokens(params, "prompt", prompt.token_ids.size()));
  std::vector<SequenceSpec> sequences;
  RETURN_IF_ERROR(AppendSequences(
      context.model, params, prompt, max_tokens,
      {.scope = scope, .split_reasoning = request.has_chat(), .stops = MakeStops(params)},
      &sequences));
  return std::move(sequences.front());
}

absl::StatusOr<std::vector<uint32_t>> EncodeTokenizeRequest(const GatewayContext& context,
                                                            const v1::TokenizeRequest& request) {
  v1::GenerateRequest generate;
  if (request.has_text()) {
    generate.set_text(request.text());
  } else if (request.has_chat()) {
    *generate.mutable_chat() = request.chat();
  }
  ASSIGN_OR_RETURN(EncodedPrompt encoded, EncodePrompt(context, generate, SIZE_MAX));
  return std::move(encoded.token_ids);
}

absl::StatusOr<std::string> DecodeDetokenizeRequest(const GatewayContext& context,
                                                    const v1::DetokenizeRequest& request) {
  const std::vector<int64_t> ids(request.token_ids().begin(), request.token_ids().end());
  ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens,
                   context.validator.AdmitPromptTokens("token_ids", ids));
  return context.model.text.tokenizer->Decode(tokens, /*skip_special_tokens=*/false);
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
