// Dense and headwise products with bfloat16 weights on Hopper's instructions.
#pragma once

#include <cuda_runtime_api.h>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/weight_tables.h"

namespace baton::kernels::cuda {

// Whether the product of these can run so: bfloat16 x and weights, k and the distances of rows and
// heads multiples of 8, x's address of 16 bytes, n a multiple of 4 where there are several heads.
// All heads have one shape; x_head_stride as LaunchPlainLinear has it.
bool TakesBf16Linear(const TensorView& x, int64_t x_head_stride,
                     std::span<const PackedWeight* const> weights);

// As HeadwiseLinearArgs says; one weight: a dense product. A row's result depends on the row alone.
void LaunchBf16Linear(const TensorView& x, int64_t x_head_stride,
                      std::span<const PackedWeight* const> weights, const TensorView& out,
                      WeightTables& tables, PinnedRing& ring, cudaStream_t stream);

}  // namespace baton::kernels::cuda
