// Gated feed-forward layers: dense, and a mixture of experts with shared experts.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/api/linear.h"

namespace baton::kernels {

// Weights of one gated feed-forward network, or of a rank's shard of it.
struct FeedForwardWeights {
  const PackedWeight* gate = nullptr;  // [intermediate, hidden]
  const PackedWeight* up = nullptr;    // [intermediate, hidden]
  const PackedWeight* down = nullptr;  // [hidden, intermediate]
};

// out = down(silu(gate(x)) * up(x)).
// Shapes: x [tokens, hidden] compute type; out [tokens, hidden] float32.
// Numerics: gate and up in float32, their product rounded once to the compute type, down in
// float32.
struct FeedForwardArgs {
  TensorView x;
  FeedForwardWeights weights;
  TensorView out;
};

// out = sum over slots in order of weight * expert(x), then + shared(x).
// Shapes: x [tokens, hidden] compute type; experts, weights [tokens * top_k] as SelectExpertsArgs
// gives them (an index of -1 is an empty slot); out [tokens, hidden] float32. Numerics: as
// FeedForwardArgs per expert; combination in float32 in slot order, shared expert last. No row
// depends on which other rows share its experts.
struct ExpertsArgs {
  TensorView x;
  std::span<const int32_t> experts;
  std::span<const float> slot_weights;
  int64_t top_k = 0;
  std::span<const FeedForwardWeights> expert_weights;
  FeedForwardWeights shared;  // all null: none
  TensorView out;
};

}  // namespace baton::kernels
