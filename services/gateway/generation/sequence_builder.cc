#include "services/gateway/generation/sequence_builder.h"

#include <cstdint>
#include <set>
#include <utility>

#include "absl/random/random.h"

#include "common/digest/sha256.h"
#include "common/status/status_macros.h"
#include "services/gateway/generation/draw_limits.h"

namespace baton::gateway {
namespace {

absl::StatusOr<v1::SamplingParams> MakeSampling(const ServedModel& model,
                                                const AdmittedParams& params,
                                                const EncodedPrompt& prompt) {
  v1::SamplingParams made;
  v1::SamplingParams* const sampling = &made;
  const bool greedy = params.temperature == 0;
  sampling->set_temperature(static_cast<float>(params.temperature));
  // Filters change nothing about the most likely token.
  sampling->set_top_p(greedy ? 1.0f : static_cast<float>(params.top_p));
  sampling->set_top_k(greedy ? 0 : params.top_k);
  sampling->set_min_p(greedy ? 0.0f : static_cast<float>(params.min_p));
  sampling->set_presence_penalty(static_cast<float>(params.presence_penalty));
  sampling->set_frequency_penalty(static_cast<float>(params.frequency_penalty));
  sampling->set_repetition_penalty(static_cast<float>(params.repetition_penalty));
  if (params.num_top_logprobs) {
    sampling->set_logprobs(true);
    sampling->set_num_top_logprobs(*params.num_top_logprobs);
  }
  if (params.num_prompt_logprobs) sampling->set_num_prompt_logprobs(*params.num_prompt_logprobs);
  for (const TokenBias& entry : params.logit_bias) {
    v1::LogitBias* bias = sampling->add_logit_bias();
    bias->set_token_id(static_cast<uint32_t>(entry.token_id));
    bias->set_bias(static_cast<float>(entry.bias));
  }
  sampling->mutable_allowed_token_ids()->Add(params.allowed_token_ids.begin(),
                                             params.allowed_token_ids.end());
  RETURN_IF_ERROR(FillBannedSequences(*model.text.tokenizer, params.bad_words, sampling));
  if (params.thinking_token_budget) {
    FillReasoningBudget(model, *params.thinking_token_budget, prompt, sampling);
  }
  return made;
}

v1::StructuredOutput::Kind KindOf(structured::ConstraintKind kind) {
  switch (kind) {
    case structured::ConstraintKind::kJsonObject:
      return v1::StructuredOutput::KIND_JSON_OBJECT;
    case structured::ConstraintKind::kJsonSchema:
      return v1::StructuredOutput::KIND_JSON_SCHEMA;
    case structured::ConstraintKind::kRegex:
      return v1::StructuredOutput::KIND_REGEX;
    case structured::ConstraintKind::kChoice:
      return v1::StructuredOutput::KIND_CHOICE;
    case structured::ConstraintKind::kGrammar:
      return v1::StructuredOutput::KIND_GRAMMAR;
  }
  return v1::StructuredOutput::KIND_UNSPECIFIED;
}

// Whether the answer is constrained as one that begins with its reasoning. A model that opens it
// itself is taken at its word: all before the closing tag is reasoning then, opened or not, unless
// the constraint knows both.
bool AwaitsReasoning(const AdmittedParams& params, const EncodedPrompt& prompt) {
  if (prompt.reasoning == PromptReasoning::kOpen) return true;
  return prompt.reasoning == PromptReasoning::kLeftToModel && params.constraint != nullptr &&
         !params.constraint_holds_reasoning;
}

// Whether the constraint holds from the first token though reasoning would come first, since no
// token ends that: then there is none.
bool LeavesNoReasoning(const ServedModel& model, const AdmittedParams& params) {
  return params.constraint != nullptr && !params.constraint_holds_reasoning &&
         !model.text.tokenizer->TokenId(TextOf(ReasoningTag::kClose));
}

// Whether that reasoning, which is not constrained, comes first.
bool ReasonsFirst(const ServedModel& model, const AdmittedParams& params,
                  const EncodedPrompt& prompt, const SequenceContext& context) {
  return context.split_reasoning && model.reasoning != ReasoningFormat::kNone &&
         !LeavesNoReasoning(model, params) && AwaitsReasoning(params, prompt);
}

// So that a constraint begins at some time even if the model does not open its reasoning: the
// budget counts from the answer's first token, which may be the opening tag.
void CountBudgetFromStart(v1::SamplingParams* sampling) {
  if (!sampling->has_reasoning_budget()) return;
  v1::ReasoningBudget* const budget = sampling->mutable_reasoning_budget();
  if (!budget->has_begin_after_token_id()) return;
  budget->clear_begin_after_token_id();
  if (budget->num_tokens() < UINT32_MAX) budget->set_num_tokens(budget->num_tokens() + 1);
}

// `reasons_first`: the constraint begins behind the reasoning.
void FillStructured(const ServedModel& model, const structured::Constraint& constraint,
                    bool reasons_first, v1::StructuredOutput* output) {
  output->set_kind(KindOf(constraint.kind));
  output->set_text(constraint.text);
  output->mutable_choices()->Add(constraint.choices.begin(), constraint.choices.end());
  output->set_compact(constraint.compact);
  if (constraint.whitespace_pattern) {
    output->set_whitespace_pattern(*constraint.whitespace_pattern);
  }
  if (reasons_first) {
    output->set_begin_after_token_id(*model.text.tokenizer->TokenId(TextOf(ReasoningTag::kClose)));
  }
  const std::set<uint32_t> ends(model.eos_token_ids.begin(), model.eos_token_ids.end());
  output->mutable_end_token_ids()->Add(ends.begin(), ends.end());
}

void FillStop(const AdmittedParams& params, uint32_t max_tokens, v1::StopParams* stop) {
  stop->set_max_tokens(max_tokens);
  stop->set_min_tokens(params.min_tokens);
  stop->set_ignore_eos(params.ignore_eos);
  stop->mutable_stop_token_ids()->Add(params.stop_token_ids.begin(), params.stop_token_ids.end());
}

// Requests with the same salt share cached prompts. An owner has a fixed number of bytes, so that
// no two pairs of owner and salt are the same text.
std::string CacheSalt(const ApiCaller& caller, const std::string& requested) {
  if (caller.cache_owner.empty()) return requested;
  return std::string(AsBytes(Sha256(caller.cache_owner + requested)));
}

TextOptions MakeTextOptions(const ServedModel& model, const AdmittedParams& params,
                            const EncodedPrompt& prompt, const SequenceContext& context,
                            const v1::StopParams& stop) {
  TextOptions text;
  text.stops = context.stops;
  text.min_tokens = params.min_tokens;
  text.include_stop = params.include_stop;
  text.skip_special_tokens = params.skip_special_tokens;
  if (context.split_reasoning && !LeavesNoReasoning(model, params))
    text.reasoning = model.reasoning;
  text.starts_in_reasoning = AwaitsReasoning(params, prompt);
  if (context.find_tool_calls) text.tools = model.tool_calls;
  text.parallel_tool_calls = context.parallel_tool_calls;
  if (!params.ignore_eos) text.terminal_token_ids = model.eos_token_ids;
  text.terminal_token_ids.insert(stop.stop_token_ids().begin(), stop.stop_token_ids().end());
  return text;
}

}  // namespace

std::shared_ptr<const StopAutomaton> MakeStops(const AdmittedParams& params) {
  if (params.stop.empty()) return nullptr;
  return std::make_shared<const StopAutomaton>(
      StopAutomaton::Options{.stops = params.stop, .include_stop = params.include_stop});
}

absl::Status AppendSequences(const ServedModel& model, const AdmittedParams& params,
                             const EncodedPrompt& prompt, uint32_t max_tokens,
                             const SequenceContext& context, std::vector<SequenceSpec>* sequences) {
  ASSIGN_OR_RETURN(const v1::SamplingParams sampling, MakeSampling(model, params, prompt));
  absl::BitGen random;
  for (uint32_t choice = 0; choice < params.num_choices; ++choice) {
    SequenceSpec spec;
    spec.index = sequences->size();
    spec.arrival = context.scope.arrival_tick;
    spec.options = {.deadline = context.scope.deadline, .trace = context.scope.trace};
    v1::SubmitRequest& submit = spec.submit;
    submit.set_request_id(context.scope.id);
    submit.mutable_prompt_token_ids()->Add(prompt.token_ids.begin(), prompt.token_ids.end());
    *submit.mutable_sampling() = sampling;
    submit.mutable_sampling()->set_seed(params.seed ? *params.seed + choice
                                                    : absl::Uniform<uint64_t>(random));
    if (params.constraint != nullptr) {
      const bool reasons_first = ReasonsFirst(model, params, prompt, context);
      FillStructured(model, *params.constraint, reasons_first,
                     submit.mutable_sampling()->mutable_structured_output());
      if (reasons_first) CountBudgetFromStart(submit.mutable_sampling());
    }
    FillStop(params, max_tokens, submit.mutable_stop());
    submit.set_priority(context.scope.caller.PriorityOf(
        params.priority != 0 ? params.priority : context.scope.priority.value_or(0)));
    submit.set_fairness_key(context.scope.caller.name);
    submit.set_fairness_weight(context.scope.caller.weight);
    submit.set_cache_salt(CacheSalt(context.scope.caller, params.cache_salt));
    spec.text = MakeTextOptions(model, params, prompt, context, submit.stop());
    sequences->push_back(std::move(spec));
  }
  return absl::OkStatus();
}

}  // namespace baton::gateway
