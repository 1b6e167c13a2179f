#include "tools/mini_r1/random_weights.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace baton {
namespace {

TEST(RandomWeights, EveryFiniteFloat8CodeIsItsOwnNearest) {
  for (uint32_t code = 0; code < 256; ++code) {
    const Float8E4M3 value = {static_cast<uint8_t>(code)};
    if (std::isnan(ToFloat(value))) continue;
    EXPECT_EQ(ToFloat8E4M3(ToFloat(value)).bits, code);
  }
}

TEST(RandomWeights, RoundsHalfwayToTheEvenCode) {
  for (uint32_t code = 0; code < 0x7e; ++code) {
    const float low = ToFloat(Float8E4M3{static_cast<uint8_t>(code)});
    const float high = ToFloat(Float8E4M3{static_cast<uint8_t>(code + 1)});
    const uint32_t even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(ToFloat8E4M3((low + high) / 2).bits, even) << code;
    EXPECT_EQ(ToFloat8E4M3(low + (high - low) * 0.49f).bits, code) << code;
    EXPECT_EQ(ToFloat8E4M3(low + (high - low) * 0.51f).bits, code + 1) << code;
  }
}

TEST(RandomWeights, SaturatesAndKeepsNan) {
  EXPECT_EQ(ToFloat8E4M3(1e6f).bits, 0x7e);
  EXPECT_EQ(ToFloat8E4M3(-INFINITY).bits, 0xfe);
  EXPECT_EQ(ToFloat8E4M3(NAN).bits & 0x7f, 0x7f);
}

TEST(RandomWeights, HaveMeanAndDeviation) {
  std::vector<BFloat16> values(100'000);
  FillRandom(TensorKey("a", 1), 0, 0.02f, values);
  double sum = 0;
  double squares = 0;
  for (const BFloat16 value : values) {
    sum += ToFloat(value);
    squares += ToFloat(value) * ToFloat(value);
  }
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(sum / count, 0.0, 3e-4);
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 2e-4);
}

TEST(RandomWeights, DependOnPlaceAlone) {
  std::vector<BFloat16> all(64);
  std::vector<BFloat16> part(16);
  FillRandom(TensorKey("a", 1), 0, 0.02f, all);
  FillRandom(TensorKey("a", 1), 40, 0.02f, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 40));
  FillRandom(TensorKey("a", 2), 40, 0.02f, part);
  EXPECT_FALSE(std::equal(part.begin(), part.end(), all.begin() + 40));
}

TEST(RandomWeights, BlocksScaleTheirLargestToTheLargestCode) {
  constexpr int64_t kColumns = 200;
  std::vector<BFloat16> values(3 * kColumns);
  FillRandom(TensorKey("a", 1), 0, 0.02f, values);
  std::vector<Float8E4M3> codes(values.size());
  std::vector<float> scales(2);
  QuantizeRows(values, kColumns, 128, codes, scales);
  int largest_codes[2] = {0, 0};
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t block = i % kColumns / 128;
    const float back = ToFloat(codes[i]) * scales[block];
    EXPECT_NEAR(back, ToFloat(values[i]), std::fabs(ToFloat(values[i])) / 15 + scales[block]);
    if ((codes[i].bits & 0x7f) == 0x7e) ++largest_codes[block];
  }
  EXPECT_GE(largest_codes[0], 1);
  EXPECT_GE(largest_codes[1], 1);
}

}  // namespace
}  // namespace baton
