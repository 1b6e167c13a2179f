// What activations become that are rounded to FP8: one scale per row and 128 columns, so that
// products with them have a tight oracle (kernels/cuda/launches/quantise.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {

// Against products of the same rounded activations in float32: the tensor cores' sums within 128
// products keep about 14 bits (kernels.md, 4.1), and bfloat16 results are rounded once more.
inline constexpr double kQuantisedProductTolerance = 3e-3;
// Two products deep the inner activations are rounded to FP8 as well, and where sums differ in
// their last bits some of them fall the other way.
inline constexpr double kQuantisedNetworkTolerance = 2e-2;
// Against activations that are not rounded: rounding costs gate, up and down 2.6 % each.
inline constexpr double kUnquantisedNetworkTolerance = 7e-2;

// The value that E4M3 has nearest to `value`, ties to the even code; beyond 448: 448.
inline float RoundedToFloat8(float value) {
  const auto magnitude = [](uint8_t code) { return ToFloat(Float8E4M3{code}); };
  const float wanted = std::min(std::abs(value), 448.0f);
  uint8_t above = 0;  // magnitudes ascend with codes 0 .. 0x7e
  while (above < 0x7e && magnitude(above) < wanted) ++above;
  if (above > 0) {
    const uint8_t below = above - 1;
    const float low = wanted - magnitude(below);
    const float high = magnitude(above) - wanted;
    if (low < high || (low == high && below % 2 == 0)) above = below;
  }
  return std::copysign(magnitude(above), value);
}

// Each row of `x` as code x scale, in float32.
inline Tensor QuantisedRows(const TensorView& x) {
  Tensor rounded(DataType::kFloat32, x.rows, x.columns);
  for (int64_t row = 0; row < x.rows; ++row) {
    for (int64_t begin = 0; begin < x.columns; begin += 128) {
      const int64_t end = std::min(begin + 128, x.columns);
      float largest = 1e-4f;
      for (int64_t c = begin; c < end; ++c) largest = std::max(largest, std::abs(Get(x, row, c)));
      const float scale = largest / 448.0f;
      for (int64_t c = begin; c < end; ++c) {
        Put(rounded.view, row, c, RoundedToFloat8(Get(x, row, c) / scale) * scale);
      }
    }
  }
  return rounded;
}

}  // namespace baton::kernels
