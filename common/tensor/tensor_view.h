// A borrowed, row-major, two-dimensional view of elements: what kernels take and give.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/log/check.h"
#include "common/tensor/bfloat16.h"
#include "common/tensor/data_type.h"
#include "common/tensor/float8_e4m3.h"

namespace baton {

template <typename T>
inline constexpr bool kIsElement = false;
template <>
inline constexpr bool kIsElement<float> = true;
template <>
inline constexpr bool kIsElement<BFloat16> = true;
template <>
inline constexpr bool kIsElement<Float8E4M3> = true;

template <typename T>
constexpr DataType DataTypeOf();
template <>
constexpr DataType DataTypeOf<float>() {
  return DataType::kFloat32;
}
template <>
constexpr DataType DataTypeOf<BFloat16>() {
  return DataType::kBFloat16;
}
template <>
constexpr DataType DataTypeOf<Float8E4M3>() {
  return DataType::kFloat8E4M3;
}

// `rows` x `columns` elements of `type`; row r starts at data + r * row_stride elements. Does not
// own memory. May name device memory; only a backend that owns the device may then follow `data`. A
// vector is one row.
struct TensorView {
  void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_stride = 0;  // elements, >= columns

  template <typename T>
  T* Row(int64_t row) const {
    BATON_CHECK(type == DataTypeOf<T>()) << "view of " << Name(type);
    return static_cast<T*>(data) + row * row_stride;
  }
  bool empty() const { return rows == 0 || columns == 0; }
  int64_t num_elements() const { return rows * columns; }

  // Rows [begin, begin + count).
  TensorView Rows(int64_t begin, int64_t count) const {
    BATON_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    return {static_cast<char*>(data) + begin * row_stride * static_cast<int64_t>(SizeOf(type)),
            type, count, columns, row_stride};
  }
  // Columns [begin, begin + count) of every row.
  TensorView Columns(int64_t begin, int64_t count) const {
    BATON_CHECK(begin >= 0 && count >= 0 && begin + count <= columns);
    return {static_cast<char*>(data) + begin * static_cast<int64_t>(SizeOf(type)), type, rows,
            count, row_stride};
  }
};

// A dense view of caller-owned memory.
template <typename T>
TensorView View(T* data, int64_t rows, int64_t columns) {
  static_assert(kIsElement<T>);
  return {data, DataTypeOf<T>(), rows, columns, columns};
}

}  // namespace baton
