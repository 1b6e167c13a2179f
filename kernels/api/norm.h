// RMS normalisation, alone and behind a residual addition.
#pragma once

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

// out = x / sqrt(mean(x^2) + epsilon) * weight, row by row.
// Shapes: x, out [tokens, width] in the compute type, rows may be strided; weight [1, width] in
// float32. `out` may be `x`. Numerics: float32 statistics in one fixed tree per row; one rounding
// at the end. Source: Zhang & Sennrich 2019. Tolerance against kernels/reference: 1 ulp of the
// output type, 1e-6 relative in float32.
struct RmsNormArgs {
  TensorView x;
  TensorView weight;
  float epsilon = 1e-6f;
  TensorView out;
};

// residual += delta (one rounding), then out = RmsNorm(residual).
// Shapes: residual, out [tokens, width] in the compute type; delta [tokens, width] in float32;
// weight as above.
struct AddRmsNormArgs {
  TensorView residual;
  TensorView delta;
  TensorView weight;
  float epsilon = 1e-6f;
  TensorView out;
};

// out = residual + delta with one rounding. Shapes as above, rows may be strided (a stage adds
// columns of its stream straight into send slots); `out` may be `residual`.
struct AddArgs {
  TensorView residual;
  TensorView delta;
  TensorView out;
};

}  // namespace baton::kernels
