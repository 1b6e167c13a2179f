#include "services/stage_worker/model/output_head.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/stage_worker/model/draw_constraints.h"
#include "services/stage_worker/model/head_rows.h"

namespace baton::stage {
namespace {

SequenceFailure NotFinite(uint64_t sequence_id, uint32_t position) {
  return {sequence_id, absl::StrCat("logits not finite at position ", position)};
}

bool HasFailed(const StepOutput& output, uint64_t sequence_id) {
  return std::any_of(
      output.failures.begin(), output.failures.end(),
      [sequence_id](const SequenceFailure& failure) { return failure.sequence_id == sequence_id; });
}

}  // namespace

// The draws of a step, by index in its list.
struct OutputHead::Draws {
  Draws(const StepBatch& of, StepOutput& into) : batch(of), output(into), tokens(of.draws.size()) {}

  // Whether what the draw takes for granted was drawn.
  bool Counts(size_t index) const {
    if (batch.draws[index].depth == 0) return true;
    const std::optional<DrawnToken>& before = tokens[index - 1];
    return before.has_value() && before->token_id == batch.draws[index - 1].draft;
  }
  // A token may have ended its sequence: then what cannot be drawn behind it is no failure.
  void Fail(size_t index, SequenceFailure failure) {
    if (batch.draws[index].depth > 0 || HasFailed(output, failure.sequence_id)) return;
    output.failures.push_back(std::move(failure));
  }

  const StepBatch& batch;
  StepOutput& output;
  std::vector<std::optional<DrawnToken>> tokens;
};

TensorView OutputHead::ComputeLogits(std::span<const int32_t> rows) const {
  const Workspace& space = *context_.workspace;
  const TensorView normed = space.head_rows.Rows(0, static_cast<int64_t>(rows.size()));
  NormRows(context_, space.residual, rows, weights_.final_norm, normed);
  const TensorView logits = MultiplyHead(context_, normed, weights_.head);
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

absl::Status OutputHead::ChooseTokens(const DrawRow& draw, DrawTokens* tokens) const {
  if (const std::optional<uint32_t> forced = ForcedToken(draw); forced.has_value()) {
    tokens->allowed = {*forced};
    return absl::OkStatus();
  }
  if (draw.sampling->structured == nullptr) {
    *tokens = TokensWithoutBanned(draw, static_cast<size_t>(context_.config->vocab_size));
    return absl::OkStatus();
  }
  absl::Status status = absl::FailedPreconditionError("this stage keeps no constraints");
  if (context_.constraints != nullptr) {
    absl::StatusOr<DrawTokens> found = context_.constraints->TokensFor(draw);
    status = found.status();
    if (found.ok()) *tokens = *std::move(found);
  }
  return Annotate(status, absl::StrCat("structured output at position ", draw.position));
}

void OutputHead::DrawRows(const StepBatch& batch, std::span<const size_t> indices,
                          const TensorView& logits, Draws& draws) const {
  std::vector<kernels::SamplingRow> sampling;
  std::vector<DrawTokens> tokens(indices.size());
  std::vector<absl::Status> chosen(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    const DrawRow& draw = batch.draws[indices[i]];
    sampling.push_back(SamplingRowOf(draw));
    if (!draw.sampling->answer_limits_draws()) continue;
    chosen[i] = ChooseTokens(draw, &tokens[i]);
    // It is drawn like the others, for nobody: whether its logits are finite shows then.
    if (!chosen[i].ok()) continue;
    sampling.back().allowed_tokens = tokens[i].allowed;
    sampling.back().masked_tokens = tokens[i].masked;
  }
  std::vector<kernels::SampleResult> results(indices.size());
  context_.ops->Sample({.logits = logits, .rows = sampling, .results = results});
  for (size_t i = 0; i < indices.size(); ++i) {
    const DrawRow& draw = batch.draws[indices[i]];
    kernels::SampleResult& result = results[i];
    if (HasFailed(draws.output, draw.sequence_id)) continue;
    if (!result.finite) {
      draws.Fail(indices[i], NotFinite(draw.sequence_id, draw.position));
      continue;
    }
    if (!chosen[i].ok()) {
      draws.Fail(indices[i],
                 {draw.sequence_id, std::string(chosen[i].message()),
                  absl::IsInvalidArgument(chosen[i]), absl::IsResourceExhausted(chosen[i])});
      continue;
    }
    DrawnToken token{draw.sequence_id, draw.position, result.token_id, std::nullopt};
    if (draw.sampling->logprobs) token.logprobs = {result.token, std::move(result.top)};
    draws.tokens[indices[i]] = std::move(token);
  }
}

void OutputHead::Draw(const StepBatch& batch, StepOutput& output) const {
  Draws draws(batch, output);
  if (context_.constraints != nullptr) context_.constraints->BeginStep();
  // Rows behind more drafts come later: whether they count is known by then.
  std::vector<size_t> order(batch.draws.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&batch](size_t a, size_t b) {
    return batch.draws[a].depth < batch.draws[b].depth;
  });
  for (size_t begin = 0; begin < order.size(); begin += kMaxLogitRows) {
    const size_t count = std::min<size_t>(kMaxLogitRows, order.size() - begin);
    const std::span<const size_t> group = std::span<const size_t>(order).subspan(begin, count);
    std::vector<int32_t> rows;
    for (const size_t index : group) rows.push_back(batch.draws[index].row);
    const TensorView logits = ComputeLogits(rows);
    if (!this->draws()) continue;
    for (size_t first = 0, end = 0; first < count; first = end) {
      end = first + 1;
      if (!draws.Counts(group[first])) continue;
      const uint32_t depth = batch.draws[group[first]].depth;
      while (end < count && batch.draws[group[end]].depth == depth && draws.Counts(group[end])) {
        ++end;
      }
      DrawRows(batch, group.subspan(first, end - first),
               logits.Rows(static_cast<int64_t>(first), static_cast<int64_t>(end - first)), draws);
    }
  }
  for (std::optional<DrawnToken>& token : draws.tokens) {
    if (token.has_value()) output.tokens.push_back(*std::move(token));
  }
}

StepOutput OutputHead::Run(const StepBatch& batch) const {
  StepOutput output;
  ScorePrompts(batch, output);
  Draw(batch, output);
  return output;
}

}  // namespace baton::stage
