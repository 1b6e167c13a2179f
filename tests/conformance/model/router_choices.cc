#include "tests/conformance/model/router_gaps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton::conformance {
namespace {

// The distance between the `kept`-th and the next largest value.
float GapBehind(std::vector<float> values, int64_t kept) {
  if (kept >= static_cast<int64_t>(values.size())) return std::numeric_limits<float>::infinity();
  std::sort(values.begin(), values.end(), std::greater<float>());
  return values[static_cast<size_t>(kept - 1)] - values[static_cast<size_t>(kept)];
}

}  // namespace

float RouterGaps::GapOf(const float* logits, const std::vector<float>& bias) const {
  const ModelConfig& config = model_.config;
  const int64_t group_size = config.num_experts / config.num_expert_groups;
  std::vector<float> choice(bias.size());
  for (size_t i = 0; i < choice.size(); ++i) {
    choice[i] = 1.0f / (1.0f + std::exp(-logits[i])) + bias[i];
  }
  std::vector<std::vector<float>> groups;
  std::vector<float> group_scores;
  for (int64_t group = 0; group < config.num_expert_groups; ++group) {
    const auto begin = choice.begin() + group * group_size;
    std::vector<float> members(begin, begin + group_size);
    std::sort(members.begin(), members.end(), std::greater<float>());
    group_scores.push_back(members[0] + members[1]);
    groups.push_back(std::move(members));
  }
  const float group_gap = GapBehind(group_scores, config.num_kept_groups);
  std::vector<float> sorted = group_scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<float>());
  const float threshold = sorted[static_cast<size_t>(config.num_kept_groups - 1)];
  std::vector<float> competing;
  for (size_t group = 0; group < groups.size(); ++group) {
    if (group_scores[group] < threshold) continue;
    competing.insert(competing.end(), groups[group].begin(), groups[group].end());
  }
  return std::min(group_gap, GapBehind(competing, config.experts_per_token));
}

void RouterGaps::OnTensor(absl::string_view name, const TensorView& values) {
  absl::string_view layer = name;
  if (!absl::ConsumeSuffix(&layer, ".router.logits")) return;
  const fakes::MemoryTensor& stored = model_.checkpoint.tensors().at(
      absl::StrCat("model.", layer, ".mlp.gate.e_score_correction_bias"));
  std::vector<float> bias(static_cast<size_t>(stored.columns));
  std::memcpy(bias.data(), stored.bytes.data(), stored.bytes.size());
  int64_t& seen = rows_seen_[std::string(name)];
  for (int64_t row = 0; row < values.rows; ++row, ++seen) {
    if (static_cast<int64_t>(gaps_.size()) <= seen) {
      gaps_.push_back(std::numeric_limits<float>::infinity());
    }
    float& gap = gaps_[static_cast<size_t>(seen)];
    gap = std::min(gap, GapOf(values.Row<float>(row), bias));
  }
}

float RouterGaps::SmallestUpTo(int64_t last_row) const {
  const size_t end = std::min(gaps_.size(), static_cast<size_t>(last_row) + 1);
  return *std::min_element(gaps_.begin(), gaps_.begin() + static_cast<int64_t>(end));
}

}  // namespace baton::conformance
