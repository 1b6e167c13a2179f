#include "common/tensor/bfloat16.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(BFloat16, KeepsEveryValueOfItsOwn) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const BFloat16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(ToFloat(value))) {
      EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(ToFloat(value))))) << bits;
    } else {
      EXPECT_EQ(ToBFloat16(ToFloat(value)), value) << bits;
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(ToFloat(ToBFloat16(1.0f + 0x1p-8f)), 1.0f);                // half way: to even, down
  EXPECT_EQ(ToFloat(ToBFloat16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);  // half way: to even, up
  EXPECT_EQ(ToFloat(ToBFloat16(1.0f + 0x1p-8f + 0x1p-20f)), 1.0f + 0x1p-7f);
  EXPECT_EQ(ToFloat(ToBFloat16(-1.0f - 0x1p-8f - 0x1p-20f)), -1.0f - 0x1p-7f);
}

TEST(BFloat16, OverflowsToInfinity) {
  EXPECT_TRUE(std::isinf(ToFloat(ToBFloat16(std::numeric_limits<float>::max()))));
  EXPECT_TRUE(std::isinf(ToFloat(ToBFloat16(std::numeric_limits<float>::infinity()))));
}

}  // namespace
}  // namespace baton
