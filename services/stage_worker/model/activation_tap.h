// A look at the activations inside a stage, for tests and dump tools.
#pragma once

#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"

#include "common/tensor/tensor_view.h"

namespace baton::stage {

// Names, N being the layer's index in the model: "embed", "layers.N.self_attn" and "layers.N.mlp"
// (outputs before the residual addition), "layers.N" (after both), "layers.N.router.logits",
// "layers.N.router.experts", "layers.N.router.weights", "norm" and "logits" (of rows that need
// logits only, in pieces of at most kMaxLogitRows). Calls come from the device's thread.
class ActivationTap {
 public:
  virtual ~ActivationTap() = default;

  // `values` is in host memory, in float32 or the compute type, and holds during the call.
  virtual void OnTensor(absl::string_view name, const TensorView& values) = 0;
  // [tokens * top_k]
  virtual void OnExperts(absl::string_view name, std::span<const int32_t> experts) = 0;
};

}  // namespace baton::stage
