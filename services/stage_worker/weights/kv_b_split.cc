#include "services/stage_worker/weights/kv_b_split.h"

#include "common/log/check.h"
#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"

namespace baton::stage {
namespace {

float ElementOf(const kernels::WeightMatrix& matrix, int64_t row, int64_t column) {
  switch (matrix.values.type) {
    case DataType::kFloat32:
      return matrix.values.Row<float>(row)[column];
    case DataType::kBFloat16:
      return ToFloat(matrix.values.Row<BFloat16>(row)[column]);
    case DataType::kFloat8E4M3: {
      const int64_t block = matrix.block_size;
      const float* scales = matrix.scales.Row<float>((matrix.row_offset + row) / block);
      return ToFloat(matrix.values.Row<Float8E4M3>(row)[column]) *
             scales[(matrix.column_offset + column) / block];
    }
  }
  return 0.0f;
}

void Store(float value, int64_t row, int64_t column, const TensorView& out) {
  if (out.type == DataType::kFloat32) {
    out.Row<float>(row)[column] = value;
  } else {
    out.Row<BFloat16>(row)[column] = ToBFloat16(value);
  }
}

}  // namespace

KvBHead SplitKvB(const kernels::WeightMatrix& kv_b, const KvBDims& dims, int64_t head,
                 DataType type) {
  const int64_t head_rows = dims.nope_dims + dims.value_dims;
  BATON_CHECK(kv_b.values.rows == dims.num_heads * head_rows &&
              kv_b.values.columns == dims.latent_dims)
      << "kv_b of " << kv_b.values.rows << " x " << kv_b.values.columns;
  KvBHead parts;
  const auto size = [&](int64_t rows) {
    return static_cast<size_t>(rows * dims.latent_dims) * SizeOf(type);
  };
  parts.w_uk_bytes = AlignedBuffer(size(dims.nope_dims));
  parts.w_k_bytes = AlignedBuffer(size(dims.nope_dims));
  parts.w_uv_bytes = AlignedBuffer(size(dims.value_dims));
  parts.w_uk = parts.w_uk_bytes.AsTensor(type, dims.latent_dims, dims.nope_dims);
  parts.w_k = parts.w_k_bytes.AsTensor(type, dims.nope_dims, dims.latent_dims);
  parts.w_uv = parts.w_uv_bytes.AsTensor(type, dims.value_dims, dims.latent_dims);
  const int64_t first_row = head * head_rows;
  for (int64_t row = 0; row < head_rows; ++row) {
    for (int64_t column = 0; column < dims.latent_dims; ++column) {
      const float value = ElementOf(kv_b, first_row + row, column);
      if (row < dims.nope_dims) {
        Store(value, column, row, parts.w_uk);
        Store(value, row, column, parts.w_k);
      } else {
        Store(value, row - dims.nope_dims, column, parts.w_uv);
      }
    }
  }
  return parts;
}

}  // namespace baton::stage
