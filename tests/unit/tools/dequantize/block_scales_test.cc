#include "tools/dequantize/block_scales.h"

#include <vector>

#include <gtest/gtest.h>

namespace baton {
namespace {

// One value under one scale.
uint16_t One(uint8_t value, float scale) {
  const Float8E4M3 in = {value};
  BFloat16 out = {};
  Dequantize({&in, 1}, 0, {{&scale, 1}, 1, 128}, {&out, 1});
  return out.bits;
}

TEST(Dequantize, MultipliesAndRounds) {
  EXPECT_EQ(One(0x38, 1.0f), 0x3f80);  // 1 x 1
  EXPECT_EQ(One(0xb8, 0.5f), 0xbf00);  // -1 x 0.5
  EXPECT_EQ(One(0x7e, 1.0f), 0x43e0);  // 448
  EXPECT_EQ(One(0x01, 1.0f), 0x3b00);  // 2^-9, the least subnormal
  EXPECT_EQ(One(0x00, 3.0f), 0x0000);
  EXPECT_EQ(One(0x80, 3.0f), 0x8000);
  EXPECT_EQ(One(0x38, 1.00390625f), 0x3f80);  // a tie goes to the even neighbour below
  EXPECT_EQ(One(0x38, 1.01171875f), 0x3f82);  // and above
  EXPECT_EQ(One(0x38, 1.00390637f), 0x3f81);  // just over the tie
  EXPECT_EQ(One(0x39, 1.1f), 0x3f9e);         // 1.125 x 1.1 = 1.2375
}

TEST(Dequantize, FollowsBlocksAtTheEdges) {
  const int64_t rows = 130;
  const int64_t columns = 257;
  const std::vector<Float8E4M3> values(static_cast<size_t>(rows * columns), {0x38});
  const std::vector<float> scales = {1, 2, 4, 8, 16, 32};
  // In two pieces, the second beginning inside of the last block.
  std::vector<BFloat16> out(values.size());
  const size_t cut = static_cast<size_t>(129 * columns);
  const BlockScales block_scales = {scales, columns, 128};
  Dequantize({values.data(), cut}, 0, block_scales, {out.data(), cut});
  Dequantize(std::span(values).subspan(cut), 129, block_scales, std::span(out).subspan(cut));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const float expected = scales[static_cast<size_t>(row / 128 * 3 + column / 128)];
      ASSERT_EQ(ToFloat(out[static_cast<size_t>(row * columns + column)]), expected)
          << row << " " << column;
    }
  }
}

}  // namespace
}  // namespace baton
