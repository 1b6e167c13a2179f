#include "common/model/stage_floor.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace baton {
namespace {

// Values of one token's hidden state that a layer reads and writes, in units of the hidden size:
// norms, residuals, quantised copies, the experts' inputs and outputs (0.295 MB per token and MoE
// layer of DeepSeek-R1).
constexpr double kActivationPasses = 20.5;
constexpr double kActivationBytes = 2;

struct Weights {
  double always_bytes = 0;
  double expert_bytes = 0;
  double token_flops = 0;  // of one token, the head left out
};

Weights WeightsOf(const ModelConfig& config, const StageShape& shape, int num_ranks) {
  Weights weights;
  for (const WeightSpec& spec : StageInventory(config, shape)) {
    if (spec.place == WeightPlace::kMtp || spec.place == WeightPlace::kEmbedding) continue;
    const double elements =
        static_cast<double>(SliceOfRank(config, spec, 0, num_ranks).num_elements());
    const double bytes = elements * static_cast<double>(SizeOf(spec.type));
    const bool routed = absl::StrContains(spec.name, ".mlp.experts.");
    (routed ? weights.expert_bytes : weights.always_bytes) += bytes;
    const bool product = spec.num_dimensions == 2 && spec.scaled_rows == 0;
    if (!product || spec.place != WeightPlace::kLayer) continue;
    weights.token_flops += 2 * elements * (routed ? ExpertShare(config) : 1.0);
  }
  return weights;
}

}  // namespace

double ExpertShare(const ModelConfig& config) {
  if (config.num_experts == 0) return 0;
  return static_cast<double>(config.experts_per_token) / static_cast<double>(config.num_experts);
}

StageFloor FloorOfStage(const ModelConfig& config, const StageShape& shape, int num_ranks,
                        const DeviceSpeed& device) {
  const Weights weights = WeightsOf(config, shape, num_ranks);
  const double layers = static_cast<double>(shape.layer_end - shape.layer_begin);
  const double heads = static_cast<double>(config.num_heads) / num_ranks;
  const double nope_and_v = static_cast<double>(config.qk_nope_head_dim + config.v_head_dim);
  const double qk_and_v = static_cast<double>(config.qk_head_dim() + config.v_head_dim);
  const double flops = config.fp8_weights ? device.fp8_flops : device.bf16_flops;
  const double activations =
      layers * kActivationPasses * static_cast<double>(config.hidden_size) * kActivationBytes;
  StageFloor floor;
  floor.step = weights.always_bytes / device.bytes_per_second;
  floor.experts = weights.expert_bytes / device.bytes_per_second;
  floor.token = std::max(activations / device.bytes_per_second, weights.token_flops / flops);
  floor.decode_kv =
      layers * static_cast<double>(config.kv_width()) * kActivationBytes / device.bytes_per_second;
  floor.chunk_kv =
      layers * 2 * static_cast<double>(config.kv_lora_rank) * heads * nope_and_v / flops;
  floor.chunk_pair = layers * 2 * heads * qk_and_v / device.bf16_flops;
  floor.absorbed_pair = layers * 2 * heads *
                        static_cast<double>(config.kv_width() + config.kv_lora_rank) /
                        device.bf16_flops;
  if (shape.has_head) {
    floor.sampled = 2 * static_cast<double>(config.hidden_size) *
                    static_cast<double>(config.vocab_size) / num_ranks / device.bf16_flops;
  }
  return floor;
}

}  // namespace baton
