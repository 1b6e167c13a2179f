// Rows of tensors as float32, whatever their element type.
#pragma once

#include <vector>

#include "common/log/check.h"
#include "common/tensor/tensor_view.h"

namespace baton::kernels {

template <typename T>
std::vector<float> WidenRow(const TensorView& view, int64_t row) {
  const T* elements = view.Row<T>(row);
  std::vector<float> values(view.columns);
  for (int64_t i = 0; i < view.columns; ++i) values[i] = ToFloat(elements[i]);
  return values;
}

inline std::vector<float> LoadRow(const TensorView& view, int64_t row) {
  switch (view.type) {
    case DataType::kFloat32:
      return WidenRow<float>(view, row);
    case DataType::kBFloat16:
      return WidenRow<BFloat16>(view, row);
    case DataType::kFloat8E4M3:
      return WidenRow<Float8E4M3>(view, row);
  }
  return {};
}

// Rounds to the view's type, float32 or bfloat16.
inline void StoreRow(const std::vector<float>& values, const TensorView& view, int64_t row) {
  BATON_CHECK(static_cast<int64_t>(values.size()) == view.columns);
  if (view.type == DataType::kFloat32) {
    float* elements = view.Row<float>(row);
    for (int64_t i = 0; i < view.columns; ++i) elements[i] = values[i];
  } else {
    BFloat16* elements = view.Row<BFloat16>(row);
    for (int64_t i = 0; i < view.columns; ++i) elements[i] = ToBFloat16(values[i]);
  }
}

// `value` as the type holds it.
inline float RoundTo(DataType type, float value) {
  return type == DataType::kBFloat16 ? ToFloat(ToBFloat16(value)) : value;
}

}  // namespace baton::kernels
