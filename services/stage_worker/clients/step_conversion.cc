#include "services/stage_worker/clients/step_conversion.h"

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"

#include "common/sampling_ranges/sampling_ranges.h"
#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

structured::ConstraintKind DecodeKind(v1::StructuredOutput::Kind kind) {
  switch (kind) {
    case v1::StructuredOutput::KIND_JSON_SCHEMA:
      return structured::ConstraintKind::kJsonSchema;
    case v1::StructuredOutput::KIND_REGEX:
      return structured::ConstraintKind::kRegex;
    case v1::StructuredOutput::KIND_CHOICE:
      return structured::ConstraintKind::kChoice;
    case v1::StructuredOutput::KIND_GRAMMAR:
      return structured::ConstraintKind::kGrammar;
    default:  // its range is checked
      return structured::ConstraintKind::kJsonObject;
  }
}

std::shared_ptr<const StructuredSettings> DecodeStructured(const v1::StructuredOutput& output) {
  auto settings = std::make_shared<StructuredSettings>();
  structured::Constraint& constraint = settings->constraint;
  constraint.kind = DecodeKind(output.kind());
  constraint.text = output.text();
  constraint.choices.assign(output.choices().begin(), output.choices().end());
  constraint.compact = output.compact();
  if (output.has_whitespace_pattern()) constraint.whitespace_pattern = output.whitespace_pattern();
  if (output.has_begin_after_token_id()) {
    settings->begin_after_token_id = output.begin_after_token_id();
  }
  settings->end_token_ids.assign(output.end_token_ids().begin(), output.end_token_ids().end());
  return settings;
}

SamplingSettings DecodeSampling(const v1::SamplingParams& params) {
  SamplingSettings settings;
  settings.temperature = params.temperature();
  settings.top_p = params.top_p();
  settings.top_k = params.top_k();
  settings.min_p = params.min_p();
  settings.presence_penalty = params.presence_penalty();
  settings.frequency_penalty = params.frequency_penalty();
  settings.repetition_penalty = params.repetition_penalty();
  settings.seed = params.seed();
  settings.logprobs = params.logprobs();
  settings.num_top_logprobs = params.num_top_logprobs();
  if (params.has_num_prompt_logprobs()) settings.num_prompt_logprobs = params.num_prompt_logprobs();
  for (const v1::LogitBias& bias : params.logit_bias()) {
    settings.logit_bias.push_back({bias.token_id(), bias.bias()});
  }
  settings.allowed_token_ids.assign(params.allowed_token_ids().begin(),
                                    params.allowed_token_ids().end());
  settings.min_tokens = params.min_tokens();
  settings.masked_token_ids.assign(params.masked_token_ids().begin(),
                                   params.masked_token_ids().end());
  for (const v1::TokenSequence& banned : params.banned_sequences()) {
    settings.banned_sequences.emplace_back(banned.token_ids().begin(), banned.token_ids().end());
  }
  if (params.has_reasoning_budget()) {
    const v1::ReasoningBudget& budget = params.reasoning_budget();
    settings.reasoning_budget = {budget.num_tokens(), budget.end_token_id(), std::nullopt};
    if (budget.has_begin_after_token_id()) {
      settings.reasoning_budget->begin_after_token_id = budget.begin_after_token_id();
    }
  }
  if (params.has_structured_output()) {
    settings.structured = DecodeStructured(params.structured_output());
  }
  return settings;
}

ChunkWork DecodeChunk(const v1::SequenceChunk& chunk) {
  ChunkWork work;
  work.sequence_id = chunk.sequence_id();
  work.begin = chunk.begin();
  work.num_tokens = chunk.num_tokens();
  work.appended_token_ids.assign(chunk.appended_token_ids().begin(),
                                 chunk.appended_token_ids().end());
  work.new_block_ids.assign(chunk.new_block_ids().begin(), chunk.new_block_ids().end());
  work.sample = chunk.sample();
  work.draft_token_ids.assign(chunk.draft_token_ids().begin(), chunk.draft_token_ids().end());
  work.feedback_step_id = chunk.feedback_step_id();
  return work;
}

void EncodeScore(const kernels::TokenScore& score, v1::TokenLogprob* out) {
  out->set_token_id(score.token_id);
  out->set_logprob(score.logprob);
  out->set_rank(score.rank);
}

void EncodeScores(const PositionScores& scores, v1::PositionLogprobs* out) {
  EncodeScore(scores.token, out->mutable_token());
  for (const kernels::TokenScore& score : scores.top) EncodeScore(score, out->add_top());
}

}  // namespace

absl::StatusOr<StepWork> DecodeStep(const v1::StepCommand& command) {
  StepWork work;
  work.epoch = command.epoch();
  work.step_id = command.step_id();
  work.work_waited = command.work_waited();
  for (const v1::NewSequence& sequence : command.new_sequences()) {
    RETURN_IF_ERROR(Annotate(CheckSamplingRanges(sequence.sampling()),
                             absl::StrCat("sequence ", sequence.sequence_id())));
    NewSequenceWork& out = work.new_sequences.emplace_back();
    out.sequence_id = sequence.sequence_id();
    out.token_ids.assign(sequence.token_ids().begin(), sequence.token_ids().end());
    out.num_prompt_tokens = sequence.num_prompt_tokens();
    out.sampling = DecodeSampling(sequence.sampling());
    out.num_cached_tokens = sequence.num_cached_tokens();
  }
  work.chunks.reserve(static_cast<size_t>(command.chunks_size()));
  for (const v1::SequenceChunk& chunk : command.chunks()) {
    work.chunks.push_back(DecodeChunk(chunk));
  }
  work.finished_sequence_ids.assign(command.finished_sequence_ids().begin(),
                                    command.finished_sequence_ids().end());
  return work;
}

v1::StepReport EncodeReport(const StepResult& result) {
  v1::StepReport report;
  report.set_epoch(result.epoch);
  report.set_step_id(result.step_id);
  for (const DrawnToken& token : result.output.tokens) {
    v1::SampledToken* out = report.add_tokens();
    out->set_sequence_id(token.sequence_id);
    out->set_position(token.position);
    out->set_token_id(token.token_id);
    if (token.logprobs.has_value()) EncodeScores(*token.logprobs, out->mutable_logprobs());
  }
  for (const DraftedTokens& drafts : result.output.drafts) {
    v1::DraftedTokens* out = report.add_drafts();
    out->set_sequence_id(drafts.sequence_id);
    out->mutable_token_ids()->Add(drafts.token_ids.begin(), drafts.token_ids.end());
  }
  for (const PromptScores& scores : result.output.prompt_scores) {
    v1::PromptLogprobs* out = report.add_prompt_logprobs();
    out->set_sequence_id(scores.sequence_id);
    out->set_begin(scores.begin);
    for (const PositionScores& position : scores.positions) {
      EncodeScores(position, out->add_positions());
    }
  }
  for (const SequenceFailure& failure : result.output.failures) {
    v1::SequenceFault* out = report.add_faults();
    out->set_sequence_id(failure.sequence_id);
    out->set_message(failure.message);
    out->set_caused_by_request(failure.caused_by_request);
    out->set_overloaded(failure.overloaded);
  }
  report.set_queue_us(result.queue_us);
  report.set_receive_us(result.receive_us);
  report.set_compute_us(result.compute_us);
  report.set_send_us(result.send_us);
  report.set_gap_us(result.gap_us.value_or(0));
  return report;
}

}  // namespace baton::stage
