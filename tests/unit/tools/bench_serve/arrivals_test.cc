#include "tools/bench_serve/arrivals.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Deviation of the gaps over their mean: 1 for a Poisson process.
double GapVariation(const std::vector<double>& times) {
  double mean = times.back() / static_cast<double>(times.size());
  double squares = 0;
  double last = 0;
  for (const double time : times) {
    squares += (time - last - mean) * (time - last - mean);
    last = time;
  }
  return std::sqrt(squares / static_cast<double>(times.size())) / mean;
}

TEST(ArrivalTimes, AreAllZeroAtAnInfiniteRate) {
  EXPECT_THAT(ArrivalTimes({}, 4, 1), ElementsAre(0, 0, 0, 0));
}

TEST(ArrivalTimes, KeepTheRateExactly) {
  const auto times = ArrivalTimes({.request_rate = 20}, 100, 7);
  EXPECT_NEAR(times.back(), 5, 1e-9);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
}

TEST(ArrivalTimes, HaveTheSpreadOfTheirBurstiness) {
  EXPECT_NEAR(GapVariation(ArrivalTimes({.request_rate = 10}, 20000, 1)), 1, 0.05);
  EXPECT_NEAR(GapVariation(ArrivalTimes({.request_rate = 10, .burstiness = 4}, 20000, 1)), 0.5,
              0.03);
  EXPECT_NEAR(GapVariation(ArrivalTimes({.request_rate = 10, .burstiness = 0.25}, 20000, 1)), 2,
              0.15);
}

TEST(ArrivalTimes, AreEvenlySpacedWithoutAnyBurstiness) {
  const auto times = ArrivalTimes({.request_rate = 4, .burstiness = kInfinity}, 4, 1);
  EXPECT_THAT(times, ElementsAre(DoubleNear(0.25, 1e-9), DoubleNear(0.5, 1e-9),
                                 DoubleNear(0.75, 1e-9), DoubleNear(1, 1e-9)));
}

TEST(ArrivalTimes, RampUpLinearly) {
  const auto times = ArrivalTimes(
      {.burstiness = kInfinity, .ramp_up = RampUp::kLinear, .start_rps = 1, .end_rps = 4}, 4, 1);
  EXPECT_THAT(times, ElementsAre(DoubleNear(1, 1e-9), DoubleNear(1 + 1. / 2, 1e-9),
                                 DoubleNear(1 + 1. / 2 + 1. / 3, 1e-9),
                                 DoubleNear(1 + 1. / 2 + 1. / 3 + 1. / 4, 1e-9)));
}

TEST(ArrivalTimes, RampUpExponentially) {
  const auto times = ArrivalTimes(
      {.burstiness = kInfinity, .ramp_up = RampUp::kExponential, .start_rps = 1, .end_rps = 4}, 3,
      1);
  EXPECT_THAT(times,
              ElementsAre(DoubleNear(1, 1e-9), DoubleNear(1.5, 1e-9), DoubleNear(1.75, 1e-9)));
}

TEST(ArrivalTimes, AreTheSameForTheSameSeed) {
  const ArrivalOptions options{.request_rate = 3};
  EXPECT_EQ(ArrivalTimes(options, 20, 5), ArrivalTimes(options, 20, 5));
  EXPECT_NE(ArrivalTimes(options, 20, 5), ArrivalTimes(options, 20, 6));
}

}  // namespace
}  // namespace baton::bench
