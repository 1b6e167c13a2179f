#include "services/stage_worker/model/moe_block.h"

#include <vector>

namespace baton::stage {
namespace {

kernels::RouterParams RouterParamsOf(const ModelConfig& config) {
  return {.num_experts = config.num_experts,
          .num_groups = config.num_expert_groups,
          .num_kept_groups = config.num_kept_groups,
          .top_k = config.experts_per_token,
          .normalize = config.normalize_expert_weights,
          .scaling_factor = static_cast<float>(config.routed_scaling_factor)};
}

void ShowChoice(const DeviceContext& context, int64_t layer_index, std::span<const int32_t> experts,
                std::span<float> weights, int64_t top_k) {
  std::vector<int32_t> host(experts.size());
  context.ops->CopyToHost(host.data(), experts.data(), experts.size_bytes());
  context.tap->OnExperts(LayerName(layer_index, ".router.experts"), host);
  const int64_t num_tokens = static_cast<int64_t>(weights.size()) / top_k;
  ShowTensor(context, LayerName(layer_index, ".router.weights"),
             View(weights.data(), num_tokens, top_k));
}

}  // namespace

void RunMoe(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
            int64_t layer_index) {
  const Workspace& space = *context.workspace;
  const int64_t top_k = context.config->experts_per_token;
  const size_t num_slots = static_cast<size_t>(rows.num_tokens * top_k);
  const TensorView normed = space.normed.Rows(0, rows.num_tokens);
  const TensorView logits = space.router_logits.Rows(0, rows.num_tokens);
  const std::span<int32_t> experts = space.experts.first(num_slots);
  const std::span<float> weights = space.expert_weights.first(num_slots);
  context.ops->Linear({.x = normed, .weight = layer.router.get(), .out = logits});
  context.ops->SelectExperts({.logits = logits,
                              .bias = layer.router_bias,
                              .params = RouterParamsOf(*context.config),
                              .experts = experts,
                              .weights = weights,
                              .sequence_rows = rows.layout.sequence_rows});
  if (context.tap != nullptr) {
    ShowTensor(context, LayerName(layer_index, ".router.logits"), logits);
    ShowChoice(context, layer_index, experts, weights, top_k);
  }
  for (size_t i = 0; i < layer.ranks.size(); ++i) {
    context.ops->Experts({.x = normed,
                          .experts = experts,
                          .slot_weights = weights,
                          .top_k = top_k,
                          .expert_weights = layer.ranks[i].expert_views,
                          .shared = layer.ranks[i].shared.view(),
                          .out = space.parts[i].Rows(0, rows.num_tokens)});
  }
  SumOverRanks(context, rows.num_tokens);
}

}  // namespace baton::stage
