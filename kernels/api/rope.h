// Rotary position embedding on interleaved pairs (2i, 2i+1), as DeepSeek-V3 uses it.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

// Rotates each head's pairs in place: (a, b) -> (a cos - b sin, a sin + b cos).
// Shapes: x [tokens, >= (heads - 1) * head_stride + dims] in the compute type: head h is the `dims`
// columns from h * head_stride on; positions [tokens]; table [max_positions, dims] in float32: cos
// of pair i at column 2i, sin at 2i + 1. Numerics: float32, one rounding per element. Positions
// must be below max_positions.
struct RopeArgs {
  TensorView x;
  int64_t heads = 1;
  int64_t head_stride = 0;
  int64_t dims = 0;
  std::span<const int32_t> positions;
  TensorView table;
};

}  // namespace baton::kernels
