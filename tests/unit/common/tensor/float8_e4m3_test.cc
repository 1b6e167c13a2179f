#include "common/tensor/float8_e4m3.h"

#include <cmath>

#include "gtest/gtest.h"

#include "common/tensor/bfloat16.h"

namespace baton {
namespace {

float Value(uint32_t bits) { return ToFloat(Float8E4M3{static_cast<uint8_t>(bits)}); }

TEST(Float8E4M3, MatchesTheFormula) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const int exponent = static_cast<int>(bits >> 3 & 15);
    const int mantissa = static_cast<int>(bits & 7);
    if (exponent == 15 && mantissa == 7) {
      EXPECT_TRUE(std::isnan(Value(bits))) << bits;
      continue;
    }
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 7 - 3);
    EXPECT_EQ(Value(bits), bits >= 128 ? -magnitude : magnitude) << bits;
  }
}

TEST(Float8E4M3, HasItsKnownLimits) {
  EXPECT_EQ(Value(0x7e), 448.0f);
  EXPECT_EQ(Value(0x01), 0x1p-9f);
  EXPECT_TRUE(std::signbit(Value(0x80)));
}

TEST(Float8E4M3, IsExactInBFloat16) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    if (std::isnan(Value(bits))) continue;
    EXPECT_EQ(ToFloat(ToBFloat16(Value(bits))), Value(bits)) << bits;
  }
}

}  // namespace
}  // namespace baton
