#include "services/stage_worker/model/output_head.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

kernels::SamplingRow SamplingRowOf(const DrawRow& draw) {
  const SamplingSettings& settings = *draw.sampling;
  kernels::SamplingRow row;
  row.temperature = settings.temperature;
  row.top_p = settings.top_p;
  row.top_k = settings.top_k;
  row.min_p = settings.min_p;
  row.presence_penalty = settings.presence_penalty;
  row.frequency_penalty = settings.frequency_penalty;
  row.repetition_penalty = settings.repetition_penalty;
  row.seed = settings.seed;
  row.position = draw.position;
  row.prompt_tokens = draw.prompt_tokens;
  row.answer_tokens = draw.answer_tokens;
  row.logit_bias = settings.logit_bias;
  row.allowed_tokens = settings.allowed_token_ids;
  if (draw.masked) row.masked_tokens = settings.masked_token_ids;
  row.logprobs = settings.logprobs;
  row.num_top_logprobs = settings.num_top_logprobs;
  return row;
}

SequenceFailure NotFinite(uint64_t sequence_id, uint32_t position) {
  return {sequence_id, absl::StrCat("logits not finite at position ", position)};
}

bool HasFailed(const StepOutput& output, uint64_t sequence_id) {
  return std::any_of(
      output.failures.begin(), output.failures.end(),
      [sequence_id](const SequenceFailure& failure) { return failure.sequence_id == sequence_id; });
}

}  // namespace

TensorView OutputHead::ComputeLogits(std::span<const int32_t> rows) const {
  const Workspace& space = *context_.workspace;
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  const TensorView normed = space.head_rows.Rows(0, num_rows);
  // The norm gathers: one call per run of neighbouring rows.
  for (int64_t begin = 0, end = 0; begin < num_rows; begin = end) {
    end = begin + 1;
    while (end < num_rows &&
           rows[static_cast<size_t>(end)] == rows[static_cast<size_t>(end - 1)] + 1) {
      ++end;
    }
    context_.ops->RmsNorm({.x = space.residual.Rows(rows[static_cast<size_t>(begin)], end - begin),
                           .weight = weights_.final_norm,
                           .epsilon = static_cast<float>(context_.config->rms_norm_epsilon),
                           .out = normed.Rows(begin, end - begin)});
  }
  std::vector<TensorView> shards;
  for (size_t i = 0; i < weights_.head.size(); ++i) {
    shards.push_back(space.logit_shards[i].Rows(0, num_rows));
    context_.ops->Linear({.x = normed, .weight = weights_.head[i].get(), .out = shards.back()});
  }
  const TensorView logits = space.logits.Rows(0, num_rows);
  context_.collectives->AllGatherColumns(shards, logits);
  ShowTensor(context_, "norm", normed);
  ShowTensor(context_, "logits", logits);
  return logits;
}

void OutputHead::ScorePrompts(const StepBatch& batch, StepOutput& output) const {
  for (const ScoreRows& scores : batch.prompt_scores) {
    PromptScores prompt{scores.sequence_id, scores.position_begin, {}};
    bool finite = true;
    for (size_t begin = 0; begin < scores.targets.size(); begin += kMaxLogitRows) {
      const size_t count = std::min<size_t>(kMaxLogitRows, scores.targets.size() - begin);
      std::vector<int32_t> rows(count);
      for (size_t i = 0; i < count; ++i) {
        rows[i] = scores.row_begin + static_cast<int32_t>(begin + i);
      }
      const TensorView logits = ComputeLogits(rows);
      if (!draws()) continue;
      std::vector<kernels::SampleResult> results(count);
      context_.ops->ScoreTokens(
          {.logits = logits,
           .targets = std::span<const uint32_t>(scores.targets).subspan(begin, count),
           .num_top = scores.num_top,
           .results = results});
      for (kernels::SampleResult& result : results) {
        finite = finite && result.finite;
        prompt.positions.push_back({result.token, std::move(result.top)});
      }
    }
    if (!draws()) continue;
    if (finite) {
      output.prompt_scores.push_back(std::move(prompt));
    } else {
      output.failures.push_back(NotFinite(scores.sequence_id, scores.position_begin));
    }
  }
}

absl::Status OutputHead::Constrain(const DrawRow& draw, DrawTokens* tokens) const {
  absl::Status status = absl::FailedPreconditionError("this stage keeps no constraints");
  if (context_.constraints != nullptr) {
    absl::StatusOr<DrawTokens> found = context_.constraints->TokensFor(draw);
    status = found.status();
    if (found.ok()) *tokens = *std::move(found);
  }
  return Annotate(status, absl::StrCat("structured output at position ", draw.position));
}

void OutputHead::Draw(const StepBatch& batch, StepOutput& output) const {
  for (size_t begin = 0; begin < batch.draws.size(); begin += kMaxLogitRows) {
    const size_t count = std::min<size_t>(kMaxLogitRows, batch.draws.size() - begin);
    const std::span<const DrawRow> draws_here(&batch.draws[begin], count);
    std::vector<int32_t> rows;
    for (const DrawRow& draw : draws_here) rows.push_back(draw.row);
    const TensorView logits = ComputeLogits(rows);
    if (!draws()) continue;
    std::vector<kernels::SamplingRow> sampling;
    std::vector<DrawTokens> tokens(count);
    for (size_t i = 0; i < count; ++i) {
      sampling.push_back(SamplingRowOf(draws_here[i]));
      if (draws_here[i].sampling->structured == nullptr) continue;
      if (absl::Status status = Constrain(draws_here[i], &tokens[i]); !status.ok()) {
        // It is drawn like the others, for nobody.
        output.failures.push_back({draws_here[i].sequence_id, std::string(status.message())});
        continue;
      }
      sampling.back().allowed_tokens = tokens[i].allowed;
      sampling.back().masked_tokens = tokens[i].masked;
    }
    std::vector<kernels::SampleResult> results(count);
    context_.ops->Sample({.logits = logits, .rows = sampling, .results = results});
    for (size_t i = 0; i < count; ++i) {
      const DrawRow& draw = draws_here[i];
      if (HasFailed(output, draw.sequence_id)) continue;
      kernels::SampleResult& result = results[i];
      if (!result.finite) {
        output.failures.push_back(NotFinite(draw.sequence_id, draw.position));
        continue;
      }
      DrawnToken token{draw.sequence_id, draw.position, result.token_id, std::nullopt};
      if (draw.sampling->logprobs) token.logprobs = {result.token, std::move(result.top)};
      output.tokens.push_back(std::move(token));
    }
  }
}

StepOutput OutputHead::Run(const StepBatch& batch) const {
  StepOutput output;
  ScorePrompts(batch, output);
  Draw(batch, output);
  return output;
}

}  // namespace baton::stage
