// FP8 values times their block scales, as bfloat16.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"

namespace baton {

// The scales of a matrix: one per `block` x `block` values; edge blocks may be partial.
struct BlockScales {
  std::span<const float> values;  // [ceil(rows / block), ceil(columns / block)], row-major
  int64_t columns = 0;            // of the matrix
  int64_t block = 128;
};

// out[i] = value x scale, multiplied in float32, rounded to nearest even. `values` and `out` are
// whole rows of the matrix from `first_row` on.
void Dequantize(std::span<const Float8E4M3> values, int64_t first_row, const BlockScales& scales,
                std::span<BFloat16> out);

}  // namespace baton
