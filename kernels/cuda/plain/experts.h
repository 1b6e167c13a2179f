// Gated feed-forward networks of any shape and type on any device.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/weight_image.h"

namespace baton::kernels::cuda {

// As FeedForwardArgs says.
void LaunchPlainFeedForward(const TensorView& x, const GatedImage& weights, const TensorView& out,
                            DeviceScratch& scratch, cudaStream_t stream);

struct PlainExpertsArgs {
  TensorView x;
  std::span<const int32_t> experts;     // [tokens * top_k], device memory
  std::span<const float> slot_weights;  // likewise
  int64_t top_k = 0;
  const GatedImage* table = nullptr;  // [num_experts], device memory; one shape
  GatedImage first;                   // the first of them, for its shape
  int64_t num_experts = 0;
  GatedImage shared;  // no values: none
  TensorView out;
};

// As ExpertsArgs says.
void LaunchPlainExperts(const PlainExpertsArgs& args, DeviceScratch& scratch, cudaStream_t stream);

}  // namespace baton::kernels::cuda
