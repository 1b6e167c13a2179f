#include "tools/dequantize/block_scales.h"

#include <algorithm>
#include <array>

#include "common/log/check.h"

namespace baton {
namespace {

std::array<float, 256> FloatOfEveryValue() {
  std::array<float, 256> table;
  for (size_t bits = 0; bits < table.size(); ++bits) {
    table[bits] = ToFloat(Float8E4M3{static_cast<uint8_t>(bits)});
  }
  return table;
}

}  // namespace

void Dequantize(std::span<const Float8E4M3> values, int64_t first_row, const BlockScales& scales,
                std::span<BFloat16> out) {
  static const std::array<float, 256> kFloats = FloatOfEveryValue();
  const int64_t columns = scales.columns;
  BATON_CHECK(columns > 0 && values.size() % static_cast<size_t>(columns) == 0 &&
              out.size() == values.size());
  const int64_t rows = static_cast<int64_t>(values.size()) / columns;
  const int64_t blocks_per_row = (columns + scales.block - 1) / scales.block;
  for (int64_t row = 0; row < rows; ++row) {
    const size_t scale_row = static_cast<size_t>((first_row + row) / scales.block * blocks_per_row);
    for (int64_t block = 0; block < blocks_per_row; ++block) {
      const float scale = scales.values[scale_row + static_cast<size_t>(block)];
      const size_t begin = static_cast<size_t>(row * columns + block * scales.block);
      const size_t end =
          static_cast<size_t>(row * columns + std::min(columns, (block + 1) * scales.block));
      for (size_t i = begin; i < end; ++i) {
        out[i] = ToBFloat16(kFloats[values[i].bits] * scale);
      }
    }
  }
}

}  // namespace baton
