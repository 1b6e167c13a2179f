#include "kernels/cuda/plan/draw_plan.h"

#include <algorithm>
#include <map>

namespace baton::kernels::cuda {
namespace {

constexpr size_t kUsualListRoom = size_t{8} << 20;

// Bytes of a row's lists, or more: no token has two edits, which may belong to several lists.
size_t MostListBytes(const SamplingRow& row, int64_t vocabulary) {
  const bool repeats = row.repetition_penalty != 1.0f;
  const bool counts = row.frequency_penalty != 0.0f || row.presence_penalty != 0.0f;
  size_t edits = row.logit_bias.size();
  if (repeats) edits += row.prompt_tokens.size();
  if (repeats || counts) edits += row.answer_tokens.size();
  return std::min(edits, static_cast<size_t>(vocabulary)) * sizeof(DrawEdit) +
         row.logit_bias.size() * sizeof(float) +
         (row.allowed_tokens.size() + row.masked_tokens.size()) * sizeof(uint32_t);
}

struct TokenChanges {
  std::vector<float> biases;
  bool was_seen = false;
  int32_t answer_count = 0;
};

void AddEdits(const SamplingRow& row, DrawPlan& plan) {
  std::map<uint32_t, TokenChanges> changes;
  for (const TokenBias& entry : row.logit_bias) {
    changes[entry.token_id].biases.push_back(entry.bias);
  }
  const bool repeats = row.repetition_penalty != 1.0f;
  const bool counts = row.frequency_penalty != 0.0f || row.presence_penalty != 0.0f;
  if (repeats) {
    for (const uint32_t id : row.prompt_tokens) changes[id].was_seen = true;
  }
  if (repeats || counts) {
    for (const uint32_t id : row.answer_tokens) {
      TokenChanges& change = changes[id];
      change.was_seen = true;
      ++change.answer_count;
    }
  }
  for (const auto& [id, change] : changes) {
    DrawEdit edit;
    edit.token_id = id;
    edit.bias_begin = static_cast<int32_t>(plan.biases.size());
    plan.biases.insert(plan.biases.end(), change.biases.begin(), change.biases.end());
    edit.bias_end = static_cast<int32_t>(plan.biases.size());
    edit.was_seen = change.was_seen ? 1 : 0;
    edit.answer_count = change.answer_count;
    plan.edits.push_back(edit);
  }
}

void AddTokens(std::span<const uint32_t> tokens, int32_t& begin, int32_t& end, DrawPlan& plan) {
  begin = static_cast<int32_t>(plan.tokens.size());
  plan.tokens.insert(plan.tokens.end(), tokens.begin(), tokens.end());
  end = static_cast<int32_t>(plan.tokens.size());
}

}  // namespace

DrawPlan PlanDraws(std::span<const SamplingRow> rows, int64_t vocabulary) {
  DrawPlan plan;
  for (const SamplingRow& row : rows) {
    DrawParams params;
    params.temperature = row.temperature;
    params.top_p = row.top_p;
    params.top_k = row.top_k;
    params.min_p = row.min_p;
    params.presence_penalty = row.presence_penalty;
    params.frequency_penalty = row.frequency_penalty;
    params.repetition_penalty = row.repetition_penalty;
    params.position = row.position;
    params.seed = row.seed;
    params.edit_begin = static_cast<int32_t>(plan.edits.size());
    AddEdits(row, plan);
    params.edit_end = static_cast<int32_t>(plan.edits.size());
    AddTokens(row.allowed_tokens, params.allowed_begin, params.allowed_end, plan);
    AddTokens(row.masked_tokens, params.masked_begin, params.masked_end, plan);
    params.scores = row.logprobs ? 1 : 0;
    if (row.logprobs) {
      params.num_top = static_cast<int32_t>(std::min<int64_t>(row.num_top_logprobs, vocabulary));
    }
    plan.most_top = std::max(plan.most_top, params.num_top);
    plan.rows.push_back(params);
  }
  return plan;
}

size_t ListRoom(int64_t vocabulary) {
  const size_t token_bytes = sizeof(DrawEdit) + sizeof(float) + 2 * sizeof(uint32_t);
  return std::max(kUsualListRoom, static_cast<size_t>(vocabulary) * token_bytes);
}

int64_t RowsOfLaunch(std::span<const SamplingRow> rows, int64_t vocabulary) {
  const size_t room = ListRoom(vocabulary);
  size_t bytes = 0;
  size_t count = 0;
  while (count < rows.size()) {
    bytes += MostListBytes(rows[count], vocabulary);
    if (count > 0 && bytes > room) break;
    ++count;
  }
  return static_cast<int64_t>(count);
}

}  // namespace baton::kernels::cuda
