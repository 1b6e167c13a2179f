#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/api/reproducible_math.h"
#include "kernels/reference/reference_ops.h"

namespace baton::kernels {
namespace {

// Indices of the `count` largest values, largest first, ties by lower index.
std::vector<int64_t> Largest(const std::vector<float>& values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  order.resize(count);
  return order;
}

}  // namespace

void ReferenceOps::SelectExperts(const SelectExpertsArgs& args) {
  const RouterParams& params = args.params;
  BATON_CHECK(args.logits.columns == params.num_experts);
  BATON_CHECK(params.num_groups >= 1 && params.num_experts % params.num_groups == 0);
  BATON_CHECK(params.num_kept_groups >= 1 && params.num_kept_groups <= params.num_groups);
  BATON_CHECK(params.top_k >= 1 && params.top_k <= params.num_experts);
  const int64_t group_size = params.num_experts / params.num_groups;
  const float* bias = args.bias.Row<float>(0);
  for (int64_t token = 0; token < args.logits.rows; ++token) {
    if (args.is_padding(token)) {  // its logits may be no numbers
      std::fill_n(args.experts.data() + token * params.top_k, params.top_k, -1);
      std::fill_n(args.weights.data() + token * params.top_k, params.top_k, 0.0f);
      continue;
    }
    const float* logits = args.logits.Row<float>(token);
    std::vector<float> scores;
    std::vector<float> choices;
    for (int64_t e = 0; e < params.num_experts; ++e) {
      scores.push_back(Sigmoid(logits[e]));
      choices.push_back(scores[e] + bias[e]);
    }
    std::vector<float> group_scores;
    for (int64_t g = 0; g < params.num_groups; ++g) {
      const std::vector<float> group(choices.begin() + g * group_size,
                                     choices.begin() + (g + 1) * group_size);
      float score = 0.0f;
      for (int64_t e : Largest(group, std::min<int64_t>(2, group_size))) score += group[e];
      group_scores.push_back(score);
    }
    std::vector<float> competing(choices.size(), 0.0f);
    for (int64_t g : Largest(group_scores, params.num_kept_groups)) {
      for (int64_t e = g * group_size; e < (g + 1) * group_size; ++e) competing[e] = choices[e];
    }
    const std::vector<int64_t> chosen = Largest(competing, params.top_k);
    float sum = 0.0f;
    for (int64_t e : chosen) sum += scores[e];
    for (int64_t slot = 0; slot < params.top_k; ++slot) {
      const float score = scores[chosen[slot]];
      const float weight = params.normalize ? score / (sum + 1e-20f) : score;
      args.experts[token * params.top_k + slot] = static_cast<int32_t>(chosen[slot]);
      args.weights[token * params.top_k + slot] = weight * params.scaling_factor;
    }
  }
}

}  // namespace baton::kernels
