#include <algorithm>

#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"

namespace baton::kernels::cpu {
namespace {

// The best indices so far, best first; later ones must be strictly better to pass earlier ones.
struct Ranking {
  int32_t* indices;
  float* values;
  int64_t capacity;
  int64_t size = 0;

  void Offer(int32_t index, float value) {
    if (size == capacity && !(value > values[size - 1])) return;
    int64_t place = size == capacity ? size - 1 : size++;
    for (; place > 0 && value > values[place - 1]; --place) {
      values[place] = values[place - 1];
      indices[place] = indices[place - 1];
    }
    values[place] = value;
    indices[place] = index;
  }
};

// Sum of the two largest of `size` values.
float TopTwoSum(const float* values, int64_t size) {
  float first = values[0];
  if (size == 1) return first;
  float second = values[1];
  if (second > first) std::swap(first, second);
  for (int64_t i = 2; i < size; ++i) {
    if (values[i] > first) {
      second = first;
      first = values[i];
    } else if (values[i] > second) {
      second = values[i];
    }
  }
  return first + second;
}

// Working memory of one row.
struct RouterScratch {
  float* scores;    // [experts]
  float* choices;   // [experts]
  float* values;    // [max(top_k, kept groups)]
  int32_t* groups;  // [kept groups]
  bool* kept;       // [groups]
};

void KeepGroups(const RouterParams& params, const RouterScratch& scratch) {
  const int64_t group_size = params.num_experts / params.num_groups;
  Ranking best = {scratch.groups, scratch.values, params.num_kept_groups};
  for (int64_t g = 0; g < params.num_groups; ++g) {
    scratch.kept[g] = false;
    best.Offer(static_cast<int32_t>(g), TopTwoSum(scratch.choices + g * group_size, group_size));
  }
  for (int64_t i = 0; i < best.size; ++i) scratch.kept[best.indices[i]] = true;
  for (int64_t e = 0; e < params.num_experts; ++e) {
    if (!scratch.kept[e / group_size]) scratch.choices[e] = 0.0f;
  }
}

}  // namespace

void CpuOps::SelectExperts(const SelectExpertsArgs& args) {
  const RouterParams& params = args.params;
  const int64_t num_experts = params.num_experts;
  BATON_CHECK(args.logits.columns == num_experts && args.bias.columns == num_experts);
  BATON_CHECK(params.num_groups >= 1 && num_experts % params.num_groups == 0);
  BATON_CHECK(params.num_kept_groups >= 1 && params.num_kept_groups <= params.num_groups);
  BATON_CHECK(params.top_k >= 1 && params.top_k <= num_experts);
  device_.scratch.Reset();
  const RouterScratch scratch = {
      device_.scratch.Take<float>(num_experts), device_.scratch.Take<float>(num_experts),
      device_.scratch.Take<float>(std::max(params.top_k, params.num_kept_groups)),
      device_.scratch.Take<int32_t>(params.num_kept_groups),
      device_.scratch.Take<bool>(params.num_groups)};
  if (device_.only_makes_room) return;
  const float* bias = args.bias.Row<float>(0);
  for (int64_t token = 0; token < args.logits.rows; ++token) {
    if (args.is_padding(token)) {  // its logits may be no numbers
      std::fill_n(args.experts.data() + token * params.top_k, params.top_k, -1);
      std::fill_n(args.weights.data() + token * params.top_k, params.top_k, 0.0f);
      continue;
    }
    device_.kernels.sigmoid(args.logits.Row<float>(token), num_experts, scratch.scores);
    for (int64_t e = 0; e < num_experts; ++e) scratch.choices[e] = scratch.scores[e] + bias[e];
    if (params.num_kept_groups < params.num_groups) KeepGroups(params, scratch);
    int32_t* experts = args.experts.data() + token * params.top_k;
    Ranking best = {experts, scratch.values, params.top_k};
    for (int64_t e = 0; e < num_experts; ++e) {
      best.Offer(static_cast<int32_t>(e), scratch.choices[e]);
    }
    float sum = 0.0f;
    for (int64_t i = 0; i < params.top_k; ++i) sum += scratch.scores[experts[i]];
    for (int64_t i = 0; i < params.top_k; ++i) {
      const float score = scratch.scores[experts[i]];
      const float weight = params.normalize ? score / (sum + 1e-20f) : score;
      args.weights[token * params.top_k + i] = weight * params.scaling_factor;
    }
  }
}

}  // namespace baton::kernels::cpu
