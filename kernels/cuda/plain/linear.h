// Dense products of any shape and type on any device.
#pragma once

#include <cuda_runtime_api.h>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/cuda/launches/weight_image.h"

namespace baton::kernels::cuda {

// Heads of one headwise product.
inline constexpr int kMostHeads = 128;

// out[:, h n : (h + 1) n] = x[:, h stride : h stride + k] W_h^T as kernels/api/linear.h says, FP8
// widened exactly. One head: a dense product. All heads have one shape.
void LaunchPlainLinear(const TensorView& x, int64_t x_head_stride,
                       std::span<const WeightImage> weights, const TensorView& out,
                       cudaStream_t stream);

}  // namespace baton::kernels::cuda
