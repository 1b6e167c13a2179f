#include "services/stage_worker/execution/rehearsal.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

constexpr uint32_t kMostLogprobs = 20;

int64_t BlocksOf(int64_t num_tokens) {
  return (num_tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
}

std::vector<DrawRow> DrawAll(int64_t num_rows) {
  auto sampling = std::make_shared<SamplingSettings>();
  sampling->temperature = 1.0f;
  sampling->logprobs = true;
  sampling->num_top_logprobs = kMostLogprobs;
  std::vector<DrawRow> draws(static_cast<size_t>(num_rows));
  for (size_t i = 0; i < draws.size(); ++i) {
    draws[i].row = static_cast<int32_t>(i);
    draws[i].sequence_id = i + 1;
    draws[i].position = 1;
    draws[i].sampling = sampling;
  }
  return draws;
}

// Sequences of `length` rows, the last of them perhaps cut, from position `begin` on.
StepBatch MakeStep(const WorkspaceShape& shape, int64_t num_tokens, int64_t begin, int64_t length) {
  const int64_t sequences = std::min((num_tokens + length - 1) / length, shape.max_step_sequences);
  const int64_t rows = std::min(num_tokens, sequences * length);
  const int64_t first_block = begin / kernels::kBlockTokens;
  const int64_t blocks = BlocksOf(begin + length) - first_block;
  StepBatch batch;
  batch.token_ids.assign(static_cast<size_t>(rows), 0);
  batch.next_token_ids = batch.token_ids;
  for (int64_t row = 0; row < rows; ++row) {
    batch.positions.push_back(static_cast<int32_t>(begin + row % length));
    batch.sequence_rows.push_back(static_cast<int32_t>(row / length));
  }
  batch.max_blocks = BlocksOf(shape.max_model_len);
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    for (int64_t block = 0; block < batch.max_blocks; ++block) {
      const int64_t own = block - first_block;
      batch.block_tables.push_back(
          static_cast<int32_t>(own >= 0 && own < blocks ? sequence * blocks + own : 0));
    }
    batch.sequence_ids.push_back(static_cast<uint64_t>(sequence) + 1);
    batch.capacities.push_back(static_cast<int32_t>(begin + length));
  }
  if (shape.stage.has_head) batch.draws = DrawAll(std::min(rows, kMaxLogitRows));
  return batch;
}

}  // namespace

StepBatch MakeRehearsal(const WorkspaceShape& shape, int64_t num_tokens) {
  return MakeStep(shape, num_tokens, 0, std::min(num_tokens, shape.max_model_len));
}

StepBatch MakeExpandedRehearsal(const WorkspaceShape& shape) {
  const int64_t length = std::min(shape.max_step_tokens, shape.max_model_len);
  StepBatch batch = MakeStep(shape, shape.max_step_tokens, shape.max_model_len - length, length);
  batch.expanded_rows = {{0, static_cast<int32_t>(batch.num_tokens())}};
  return batch;
}

int64_t NumBlocksOf(const StepBatch& batch) {
  return *std::max_element(batch.block_tables.begin(), batch.block_tables.end()) + 1;
}

}  // namespace baton::stage
