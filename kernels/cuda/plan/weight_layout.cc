#include "kernels/cuda/plan/weight_layout.h"

#include <cstring>

#include "common/log/check.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kRowBytes = 16;
constexpr int64_t kScalesPerRow = 4;
constexpr size_t kPartAlignment = 256;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

void PackScales(const WeightMatrix& weight, const WeightLayout& layout, std::byte* out) {
  for (int64_t row = 0; row < layout.row_blocks; ++row) {
    std::memcpy(out + static_cast<size_t>(row * layout.scale_pitch) * sizeof(float),
                weight.scales.Row<float>(row),
                static_cast<size_t>(layout.column_blocks) * sizeof(float));
  }
}

}  // namespace

WeightLayout LayOutWeight(const WeightMatrix& weight, DataType compute_type) {
  const TensorView& values = weight.values;
  WeightLayout layout;
  layout.type = values.type == DataType::kFloat32 ? compute_type : values.type;
  layout.n = values.rows;
  layout.k = values.columns;
  const auto element_bytes = static_cast<int64_t>(SizeOf(layout.type));
  layout.value_pitch = RoundUp(layout.k * element_bytes, kRowBytes) / element_bytes;
  const int64_t value_bytes = layout.n * layout.value_pitch * element_bytes;
  layout.scale_offset = layout.bytes =
      static_cast<size_t>(RoundUp(value_bytes, static_cast<int64_t>(kPartAlignment)));
  if (!layout.scaled()) return layout;
  layout.block = weight.block_size;
  layout.row_offset = weight.row_offset;
  layout.column_offset = weight.column_offset;
  BATON_CHECK(layout.block > 0 && layout.row_offset >= 0 && layout.row_offset < layout.block &&
              layout.column_offset >= 0 && layout.column_offset < layout.block)
      << "scale blocks of " << layout.block << " from " << layout.row_offset << ", "
      << layout.column_offset;
  layout.row_blocks = (layout.row_offset + layout.n + layout.block - 1) / layout.block;
  layout.column_blocks = (layout.column_offset + layout.k + layout.block - 1) / layout.block;
  BATON_CHECK(weight.scales.rows >= layout.row_blocks &&
              weight.scales.columns >= layout.column_blocks)
      << "scales of " << weight.scales.rows << " x " << weight.scales.columns;
  layout.scale_pitch = RoundUp(layout.column_blocks, kScalesPerRow);
  layout.bytes += static_cast<size_t>(layout.row_blocks * layout.scale_pitch) * sizeof(float);
  return layout;
}

void PackWeight(const WeightMatrix& weight, const WeightLayout& layout, std::span<std::byte> out) {
  BATON_CHECK(out.size() == layout.bytes) << out.size() << " of " << layout.bytes;
  std::memset(out.data(), 0, out.size());
  const TensorView& values = weight.values;
  const size_t row_bytes = static_cast<size_t>(layout.value_pitch) * SizeOf(layout.type);
  for (int64_t row = 0; row < layout.n; ++row) {
    std::byte* to = out.data() + static_cast<size_t>(row) * row_bytes;
    if (values.type == layout.type) {
      const TensorView from = values.Rows(row, 1);
      std::memcpy(to, from.data, static_cast<size_t>(layout.k) * SizeOf(layout.type));
      continue;
    }
    const float* from = values.Row<float>(row);
    auto* rounded = reinterpret_cast<BFloat16*>(to);
    for (int64_t column = 0; column < layout.k; ++column) {
      rounded[column] = ToBFloat16(from[column]);
    }
  }
  if (layout.scaled()) PackScales(weight, layout, out.data() + layout.scale_offset);
}

}  // namespace baton::kernels::cuda
