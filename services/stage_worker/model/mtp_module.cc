#include "services/stage_worker/model/mtp_module.h"

#include <algorithm>

#include "services/stage_worker/model/attention_block.h"
#include "services/stage_worker/model/embedding.h"
#include "services/stage_worker/model/head_rows.h"
#include "services/stage_worker/model/moe_block.h"

namespace baton::stage {
void MtpModule::RunLayer(const StepRows& rows, const kernels::KvPages& cache) const {
  const Workspace& space = *context_.workspace;
  const MtpWeights& mtp = *weights_.mtp;
  const int64_t hidden = context_.config->hidden_size;
  const float epsilon = static_cast<float>(context_.config->rms_norm_epsilon);
  const TensorView residual = space.residual.Rows(0, rows.num_tokens);
  const TensorView normed = space.normed.Rows(0, rows.num_tokens);
  const TensorView joined = space.joined.Rows(0, rows.num_tokens);
  const TensorView summed = space.summed.Rows(0, rows.num_tokens);

  EmbedTokens(context_, rows, mtp.embedding, "mtp.embed");
  context_.ops->RmsNorm({.x = residual,
                         .weight = mtp.embedding_norm,
                         .epsilon = epsilon,
                         .out = joined.Columns(0, hidden)});
  context_.ops->Linear({.x = joined, .weight = mtp.join.get(), .out = residual});
  context_.ops->RmsNorm(
      {.x = residual, .weight = mtp.layer.input_norm, .epsilon = epsilon, .out = normed});
  RunAttention(context_, rows, mtp.layer, cache);
  context_.ops->AddRmsNorm({.residual = residual,
                            .delta = summed,
                            .weight = mtp.layer.post_attention_norm,
                            .epsilon = epsilon,
                            .out = normed});
  RunMoe(context_, rows, mtp.layer, layer_index_);
  context_.ops->Add({.residual = residual, .delta = summed, .out = residual});
}

void MtpModule::RunStep(const StepBatch& batch, std::span<const CountedDraw> drawn,
                        const StepRows& rows, const kernels::KvPages& cache) const {
  const Workspace& space = *context_.workspace;
  const int64_t hidden = context_.config->hidden_size;
  const float epsilon = static_cast<float>(context_.config->rms_norm_epsilon);
  const TensorView residual = space.residual.Rows(0, rows.num_tokens);
  const TensorView normed = space.normed.Rows(0, rows.num_tokens);
  std::vector<uint32_t> next = batch.next_token_ids;
  for (const CountedDraw& draw : drawn) {
    next[static_cast<size_t>(batch.draws[draw.draw].row)] = draw.token_id;
  }
  Upload(context_.ops, next, space.token_ids);
  context_.ops->RmsNorm(
      {.x = residual, .weight = weights_.final_norm, .epsilon = epsilon, .out = normed});
  context_.ops->RmsNorm({.x = normed,
                         .weight = weights_.mtp->hidden_norm,
                         .epsilon = epsilon,
                         .out = space.joined.Rows(0, rows.num_tokens).Columns(hidden, hidden)});
  RunLayer(rows, cache);
  if (context_.tap == nullptr) return;
  context_.ops->RmsNorm(
      {.x = residual, .weight = weights_.mtp->head_norm, .epsilon = epsilon, .out = normed});
  ShowTensor(context_, "mtp.norm", normed);
}

void MtpModule::AddTokens(const StepBatch& batch, bool is_last, std::span<Guess> guesses) const {
  for (size_t begin = 0; begin < guesses.size(); begin += kMaxLogitRows) {
    const std::span<Guess> group =
        guesses.subspan(begin, std::min<size_t>(kMaxLogitRows, guesses.size() - begin));
    std::vector<int32_t> head_rows;
    std::vector<kernels::SamplingRow> sampling;
    for (const Guess& guess : group) {
      head_rows.push_back(guess.row);
      const DrawRow& draw = batch.draws[guess.draw];
      // The draw that is guessed will use this very noise.
      sampling.push_back(SamplingRowOf(draw));
      sampling.back().position = draw.position + 1 + static_cast<uint32_t>(guess.tokens.size());
      sampling.back().logprobs = false;
    }
    const TensorView normed =
        context_.workspace->head_rows.Rows(0, static_cast<int64_t>(group.size()));
    NormRows(context_, context_.workspace->residual, head_rows, weights_.mtp->head_norm, normed);
    const TensorView logits = MultiplyHead(context_, normed, weights_.mtp->head);
    if (is_last && context_.first_rank != 0) continue;
    std::vector<kernels::SampleResult> results(group.size());
    context_.ops->Sample({.logits = logits, .rows = sampling, .results = results});
    for (size_t i = 0; i < group.size(); ++i) {
      if (results[i].finite) group[i].tokens.push_back(results[i].token_id);
    }
  }
}

void MtpModule::RunGuesses(const StepBatch& batch, std::span<Guess> guesses, StepRows rows,
                           const kernels::KvPages& cache) const {
  const Workspace& space = *context_.workspace;
  const int64_t hidden = context_.config->hidden_size;
  std::vector<uint32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_rows;
  std::vector<int32_t> old_rows;
  for (Guess& guess : guesses) {
    const DrawRow& draw = batch.draws[guess.draw];
    token_ids.push_back(guess.tokens.back());
    positions.push_back(static_cast<int32_t>(draw.position + guess.tokens.size() - 1));
    sequence_rows.push_back(batch.sequence_rows[static_cast<size_t>(draw.row)]);
    old_rows.push_back(guess.row);
    guess.row = static_cast<int32_t>(old_rows.size()) - 1;
  }
  rows.num_tokens = static_cast<int64_t>(guesses.size());
  rows.token_ids = Upload(context_.ops, token_ids, space.token_ids);
  rows.layout.positions = Upload(context_.ops, positions, space.positions);
  rows.layout.sequence_rows = Upload(context_.ops, sequence_rows, space.sequence_rows);
  rows.expanded_rows = {};
  const TensorView normed = space.normed.Rows(0, rows.num_tokens);
  NormRows(context_, space.residual, old_rows, weights_.mtp->head_norm, normed);
  context_.ops->RmsNorm({.x = normed,
                         .weight = weights_.mtp->hidden_norm,
                         .epsilon = static_cast<float>(context_.config->rms_norm_epsilon),
                         .out = space.joined.Rows(0, rows.num_tokens).Columns(hidden, hidden)});
  RunLayer(rows, cache);
}

std::vector<DraftedTokens> MtpModule::Draft(const StepBatch& batch,
                                            std::span<const CountedDraw> drawn, int64_t num_drafts,
                                            StepRows rows, const kernels::KvPages& cache) const {
  RunStep(batch, drawn, rows, cache);
  std::vector<Guess> guesses;  // those that go on stand first
  for (size_t i = 0; i < drawn.size(); ++i) {
    const DrawRow& draw = batch.draws[drawn[i].draw];
    const bool is_last =
        i + 1 == drawn.size() || batch.draws[drawn[i + 1].draw].sequence_id != draw.sequence_id;
    if (is_last) guesses.push_back({drawn[i].draw, draw.row, {}});
  }
  size_t num_going = guesses.size();
  for (int64_t count = 1; num_going > 0; ++count) {
    const std::span<Guess> going(guesses.data(), num_going);
    AddTokens(batch, count == num_drafts, going);
    if (count == num_drafts) break;
    const auto stopped = std::stable_partition(going.begin(), going.end(), [&](const Guess& guess) {
      const DrawRow& draw = batch.draws[guess.draw];
      const auto sequence = static_cast<size_t>(batch.sequence_rows[static_cast<size_t>(draw.row)]);
      return static_cast<int64_t>(guess.tokens.size()) == count &&
             draw.position + count - 1 < batch.capacities[sequence];
    });
    num_going = static_cast<size_t>(stopped - going.begin());
    if (num_going > 0) RunGuesses(batch, going.first(num_going), rows, cache);
  }
  std::vector<DraftedTokens> drafts;
  for (Guess& guess : guesses) {
    if (guess.tokens.empty()) continue;
    drafts.push_back({batch.draws[guess.draw].sequence_id, std::move(guess.tokens)});
  }
  return drafts;
}

}  // namespace baton::stage
