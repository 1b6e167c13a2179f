#include "services/gateway/calls/completions_call.h"

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/http_generation_call.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/openai/completion_answer.h"
#include "services/gateway/openai/completion_request.h"

namespace baton::gateway {
namespace {

constexpr char kTextIdPrefix[] = "cmpl-";

struct KeptPrompt {
  EncodedPrompt encoded;
  bool truncated = false;
};

absl::StatusOr<KeptPrompt> EncodePrompt(const GatewayContext& context,
                                        const CompletionPrompt& prompt,
                                        const AdmittedParams& params, bool add_special_tokens) {
  KeptPrompt kept;
  EncodedPrompt& encoded = kept.encoded;
  if (const auto* ids = std::get_if<std::vector<int64_t>>(&prompt)) {
    ASSIGN_OR_RETURN(encoded.token_ids, context.validator.AdmitPromptTokens("prompt", *ids));
  } else {
    ASSIGN_OR_RETURN(encoded.token_ids,
                     EncodeText(context.model, std::get<std::string>(prompt), add_special_tokens,
                                context.validator.NumPromptTokensUsed(params)));
  }
  const size_t whole = encoded.token_ids.size();
  RequestValidator::TruncatePrompt(params, &encoded.token_ids);
  kept.truncated = encoded.token_ids.size() < whole;
  return kept;
}

// The text of a prompt that was given as text, as far as it was kept.
absl::StatusOr<std::string> TruncatedText(const GatewayContext& context,
                                          const CompletionRequest& request,
                                          absl::Span<const uint32_t> ids) {
  if (request.add_special_tokens && request.params.truncation_side == "right") {
    // Those before it, which are no part of it, are still there.
    ASSIGN_OR_RETURN(const std::vector<uint32_t> added,
                     EncodeText(context.model, "", /*add_special_tokens=*/true, SIZE_MAX));
    for (const uint32_t id : added) {
      if (!ids.empty() && ids.front() == id) ids.remove_prefix(1);
    }
  }
  return context.model.text.tokenizer->Decode(ids, /*skip_special_tokens=*/false);
}

absl::StatusOr<EchoedPrompt> EchoPrompt(const GatewayContext& context,
                                        const CompletionRequest& request,
                                        const CompletionPrompt& prompt, const KeptPrompt& kept) {
  EchoedPrompt echoed;
  const std::vector<uint32_t>& ids = kept.encoded.token_ids;
  if (request.echo) {
    const auto* text = std::get_if<std::string>(&prompt);
    if (text == nullptr) {
      echoed.text = context.model.text.tokenizer->Decode(ids, request.params.skip_special_tokens);
    } else if (kept.truncated) {
      ASSIGN_OR_RETURN(echoed.text, TruncatedText(context, request, ids));
    } else {
      echoed.text = *text;
    }
  }
  if (request.echo || request.output.return_token_ids) echoed.token_ids = ids;
  return echoed;
}

absl::StatusOr<PreparedGeneration> PrepareCompletion(const GatewayContext& context,
                                                     const HttpRequest& http_request,
                                                     const RequestScope& given_scope) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  const ServedModel& model = context.model;
  ASSIGN_OR_RETURN(const CompletionRequest request,
                   ParseCompletionRequest(http_request.body, context.validator));
  RETURN_IF_ERROR(CheckModelName(model, request.model));
  ASSIGN_OR_RETURN(const AdmittedParams params, context.validator.Admit(request.params));
  RETURN_IF_ERROR(context.validator.CheckSequenceCount(request.prompts.size(), params.num_choices));

  const RequestScope scope =
      NamedScope(given_scope, http_request, kTextIdPrefix, request.request_id);
  PreparedGeneration prepared;
  prepared.id = scope.id;
  prepared.choices_per_prompt = params.num_choices;
  prepared.stream = request.stream.stream;
  prepared.stream_interval = static_cast<uint64_t>(request.stream.interval);
  const auto stops = MakeStops(params);
  CompletionAnswerOptions options;
  for (const CompletionPrompt& prompt : request.prompts) {
    ASSIGN_OR_RETURN(const KeptPrompt kept,
                     EncodePrompt(context, prompt, params, request.add_special_tokens));
    const EncodedPrompt& encoded = kept.encoded;
    ASSIGN_OR_RETURN(prepared.max_tokens, context.validator.ResolveMaxTokens(
                                              params, "prompt", encoded.token_ids.size()));
    RETURN_IF_ERROR(AppendSequences(model, params, encoded, prepared.max_tokens,
                                    {.scope = scope, .stops = stops}, &prepared.sequences));
    ASSIGN_OR_RETURN(EchoedPrompt echoed, EchoPrompt(context, request, prompt, kept));
    options.prompts.push_back(std::move(echoed));
  }
  options.head = MakeAnswerHead(model, scope.id, scope.arrival);
  options.choices_per_prompt = params.num_choices;
  options.stream = request.stream;
  if (context.force_include_usage) options.stream.ForceUsage();
  options.output = request.output;
  options.echo = request.echo;
  options.echo_only = request.echo_only;
  options.logprobs = params.num_top_logprobs.has_value();
  options.prompt_logprobs = params.num_prompt_logprobs.has_value();
  prepared.writer = std::make_unique<CompletionAnswer>(*model.text.tokenizer, std::move(options));
  return prepared;
}

}  // namespace

std::unique_ptr<HttpCall> MakeCompletionsCall(const GatewayContext& context,
                                              HttpExchange& exchange) {
  return std::make_unique<HttpGenerationCall>(
      context, exchange,
      HttpGenerationCall::Options{
          .route = "/v1/completions", .id_prefix = kTextIdPrefix, .prepare = PrepareCompletion});
}

}  // namespace baton::gateway
