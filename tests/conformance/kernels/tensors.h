// Tensors with random contents, weights with scale blocks, and distances between results.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "common/tensor/aligned_buffer.h"
#include "common/tensor/tensor_view.h"
#include "kernels/api/linear.h"

namespace baton::kernels {

using Random = std::mt19937;

inline float Get(const TensorView& view, int64_t row, int64_t column) {
  switch (view.type) {
    case DataType::kFloat32:
      return view.Row<float>(row)[column];
    case DataType::kBFloat16:
      return ToFloat(view.Row<BFloat16>(row)[column]);
    case DataType::kFloat8E4M3:
      return ToFloat(view.Row<Float8E4M3>(row)[column]);
  }
  return 0.0f;
}

inline void Put(const TensorView& view, int64_t row, int64_t column, float value) {
  if (view.type == DataType::kFloat32) {
    view.Row<float>(row)[column] = value;
  } else {
    view.Row<BFloat16>(row)[column] = ToBFloat16(value);
  }
}

// Owns its elements; rows stand `gap` elements apart.
struct Tensor {
  Tensor() = default;
  Tensor(DataType type, int64_t rows, int64_t columns, int64_t gap = 0)
      : memory((rows * (columns + gap)) * SizeOf(type)),
        view{memory.data(), type, rows, columns, columns + gap} {}

  AlignedBuffer memory;
  TensorView view;
};

inline Tensor RandomTensor(Random& random, DataType type, int64_t rows, int64_t columns,
                           float deviation = 1.0f, int64_t gap = 0) {
  Tensor tensor(type, rows, columns, gap);
  std::normal_distribution<float> normal(0.0f, deviation);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) Put(tensor.view, r, c, normal(random));
  }
  return tensor;
}

inline Tensor CopyOf(const TensorView& from) {
  Tensor copy(from.type, from.rows, from.columns);
  for (int64_t r = 0; r < from.rows; ++r) {
    for (int64_t c = 0; c < from.columns; ++c) Put(copy.view, r, c, Get(from, r, c));
  }
  return copy;
}

// A copy of dense memory, NaNs with their bits too.
inline Tensor BytesOf(const TensorView& from) {
  Tensor copy(from.type, from.rows, from.columns);
  std::memcpy(copy.view.data, from.data, from.rows * from.columns * SizeOf(from.type));
  return copy;
}

struct WeightShape {
  DataType type = DataType::kBFloat16;
  int64_t n = 0;
  int64_t k = 0;
  int64_t block_size = 128;
  int64_t row_offset = 0;
  int64_t column_offset = 0;
};

// A weight with its memory. FP8 codes are uniform but for NaN; scales spread over a factor of 8.
struct TestWeight {
  TestWeight(Random& random, const WeightShape& shape) {
    if (shape.type != DataType::kFloat8E4M3) {
      values = RandomTensor(random, shape.type, shape.n, shape.k, 0.05f);
      matrix.values = values.view;
      return;
    }
    values = Tensor(DataType::kFloat8E4M3, shape.n, shape.k);
    for (int64_t i = 0; i < shape.n * shape.k; ++i) {
      uint8_t code = static_cast<uint8_t>(random());
      if ((code & 0x7f) == 0x7f) code ^= 1;
      values.memory.data()[i] = static_cast<std::byte>(code);
    }
    const auto blocks = [&](int64_t offset, int64_t size) {
      return (offset + size + shape.block_size - 1) / shape.block_size;
    };
    scales = Tensor(DataType::kFloat32, blocks(shape.row_offset, shape.n),
                    blocks(shape.column_offset, shape.k));
    std::uniform_real_distribution<float> uniform(0.0005f, 0.004f);
    for (int64_t r = 0; r < scales.view.rows; ++r) {
      for (int64_t c = 0; c < scales.view.columns; ++c) Put(scales.view, r, c, uniform(random));
    }
    matrix = {values.view, scales.view, shape.block_size, shape.row_offset, shape.column_offset};
  }

  Tensor values;
  Tensor scales;
  WeightMatrix matrix;
};

// |a - b| / |b| over all elements.
inline double RelativeL2(const TensorView& a, const TensorView& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (int64_t r = 0; r < b.rows; ++r) {
    for (int64_t c = 0; c < b.columns; ++c) {
      const double d = double{Get(a, r, c)} - double{Get(b, r, c)};
      difference += d * d;
      norm += double{Get(b, r, c)} * double{Get(b, r, c)};
    }
  }
  if (!std::isfinite(difference)) return INFINITY;
  return norm == 0.0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

inline bool SameBits(const TensorView& a, int64_t row_a, const TensorView& b, int64_t row_b) {
  const size_t element = SizeOf(a.type);
  const char* bytes_a = static_cast<const char*>(a.data) + row_a * a.row_stride * element;
  const char* bytes_b = static_cast<const char*>(b.data) + row_b * b.row_stride * element;
  return a.type == b.type && a.columns == b.columns &&
         std::memcmp(bytes_a, bytes_b, a.columns * element) == 0;
}

inline bool SameBits(const TensorView& a, const TensorView& b) {
  for (int64_t row = 0; row < a.rows; ++row) {
    if (!SameBits(a, row, b, row)) return false;
  }
  return a.rows == b.rows;
}

// Tolerance of products against the reference, by their output type (kernels/api/linear.h).
inline double ProductTolerance(DataType compute_type, DataType out_type) {
  if (compute_type == DataType::kFloat32) return 1e-5;
  return out_type == DataType::kBFloat16 ? 3e-3 : 1e-5;
}

// The same where activations are rounded to FP8, which alone costs 2.6 %.
inline constexpr double kQuantisedTolerance = 4e-2;

}  // namespace baton::kernels
