// A weight as kernels see it: plan/weight_layout.h with the addresses filled in. Passed by value.
#pragma once

#include <cstdint>

#include "common/tensor/data_type.h"

namespace baton::kernels::cuda {

struct WeightImage {
  const void* values = nullptr;
  const float* scales = nullptr;  // null: unscaled
  DataType type = DataType::kBFloat16;
  int32_t block = 128;
  int32_t row_offset = 0;
  int32_t column_offset = 0;
  int32_t scale_pitch = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t value_pitch = 0;
};

// The three weights of a gated feed-forward network.
struct GatedImage {
  WeightImage gate;
  WeightImage up;
  WeightImage down;
};

}  // namespace baton::kernels::cuda
