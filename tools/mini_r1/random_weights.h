// Random weights that depend on seed, tensor and place alone, and their FP8 form.
#pragma once

#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"

#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"

namespace baton {

// A number per tensor: FNV-1a of its name, mixed with the seed.
uint64_t TensorKey(absl::string_view name, uint64_t seed);

// out[i] = element `first` + i of the tensor: nearly normal (a sum of four uniform numbers), mean
// 0, deviation `deviation`, rounded to bfloat16.
void FillRandom(uint64_t key, uint64_t first, float deviation, std::span<BFloat16> out);

// Nearest even, saturated to 448; NaN stays NaN.
Float8E4M3 ToFloat8E4M3(float value);

// Up to `block` rows of `columns` values to FP8: for each block of columns one scale, its largest
// magnitude / 448, and codes of value / scale. `scales` has one place per block of columns.
void QuantizeRows(std::span<const BFloat16> values, int64_t columns, int64_t block,
                  std::span<Float8E4M3> codes, std::span<float> scales);

}  // namespace baton
