#include "kernels/api/reproducible_math.h"

#include <array>
#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers published with the Random123 library.
TEST(Philox, MatchesPublishedAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(ExpNonPositive, IsAccurateOverItsRange) {
  for (double x = 0.0; x > -86.0; x -= 0.00137) {
    const float argument = static_cast<float>(x);
    const double expected = std::exp(double{argument});
    EXPECT_NEAR(ExpNonPositive(argument) / expected, 1.0, 2.5e-7) << argument;
  }
}

TEST(ExpNonPositive, TreatsItsEndsAsSaid) {
  EXPECT_EQ(ExpNonPositive(0.0f), 1.0f);
  EXPECT_EQ(ExpNonPositive(-86.5f), 0.0f);
  EXPECT_EQ(ExpNonPositive(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_TRUE(std::isnan(ExpNonPositive(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Sigmoid, IsAccurateAndNeverLeavesItsRange) {
  for (float x = -100.0f; x < 100.0f; x += 0.037f) {
    const double expected = 1.0 / (1.0 + std::exp(-double{x}));
    EXPECT_NEAR(Sigmoid(x), expected, 4e-7 * expected + 1e-37) << x;
    EXPECT_GE(Sigmoid(x), 0.0f);
    EXPECT_LE(Sigmoid(x), 1.0f);
  }
}

TEST(LogPositive, IsAccurateOverManyMagnitudes) {
  for (float x = 1e-30f; x < 1e30f; x *= 1.0013f) {
    const double expected = std::log(double{x});
    EXPECT_NEAR(LogPositive(x), expected, 2.5e-7 * std::abs(expected) + 1e-9) << x;
  }
}

TEST(GumbelFromBits, FollowsTheFormulaAtBothEnds) {
  for (uint32_t bits :
       {0u, 2u, 1000u, 0x2fffffffu, 0x4b000000u, 0x80000000u, 0xfffffff0u, 0xffffffffu}) {
    const double complement = (static_cast<double>(bits >> 1) + 0.5) * 0x1p-31;
    const double expected = -std::log(-std::log1p(-complement));
    EXPECT_NEAR(GumbelFromBits(bits), expected, 1e-5) << bits;
  }
}

TEST(GumbelNoise, HasTheMomentsOfTheDistribution) {
  double sum = 0.0;
  double squares = 0.0;
  constexpr int kCount = 200000;
  for (uint32_t id = 0; id < kCount; ++id) {
    const double noise = GumbelNoise(42, 7, id);
    sum += noise;
    squares += noise * noise;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 0.5772157, 0.01);                            // Euler's constant
  EXPECT_NEAR(squares / kCount - mean * mean, 1.6449341, 0.03);  // pi^2 / 6
}

TEST(GumbelNoise, DependsOnSeedPositionAndToken) {
  const float noise = GumbelNoise(1, 2, 3);
  EXPECT_EQ(noise, GumbelNoise(1, 2, 3));
  EXPECT_NE(noise, GumbelNoise(uint64_t{1} << 32 | 1, 2, 3));
  EXPECT_NE(noise, GumbelNoise(2, 2, 3));
  EXPECT_NE(noise, GumbelNoise(1, 3, 3));
  EXPECT_NE(noise, GumbelNoise(1, 2, 7));
}

TEST(SoftmaxMass, IsOneAtTheLargestLogitAndNothingFarBelow) {
  EXPECT_EQ(SoftmaxMass(0.0f), uint64_t{1} << 40);
  EXPECT_EQ(SoftmaxMass(-40.0f), 0u);
}

}  // namespace
}  // namespace baton::kernels
