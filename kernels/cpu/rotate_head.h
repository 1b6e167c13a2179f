// Rotary embedding of one head, in place.
#pragma once

#include <cstdint>

#include "common/tensor/bfloat16.h"

namespace baton::kernels::cpu {

// Turns the pairs of `dims` elements by the angles of one position (RopeArgs::table): float32, one
// rounding per element. T is float or BFloat16.
template <typename T>
void RotateHead(const float* table, int64_t dims, T* x) {
  for (int64_t i = 0; i < dims; i += 2) {
    const float cosine = table[i];
    const float sine = table[i + 1];
    const float a = ToFloat(x[i]);
    const float b = ToFloat(x[i + 1]);
    x[i] = FromFloat<T>(a * cosine - b * sine);
    x[i + 1] = FromFloat<T>(a * sine + b * cosine);
  }
}

}  // namespace baton::kernels::cpu
