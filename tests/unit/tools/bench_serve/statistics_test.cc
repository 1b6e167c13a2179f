#include "tools/bench_serve/statistics.h"

#include "gtest/gtest.h"

namespace baton::bench {
namespace {

// Expected values: numpy.mean, numpy.std, numpy.percentile of [4, 1, 3, 10].
TEST(Statistics, AreThoseOfNumpy) {
  const std::vector<double> values{4, 1, 3, 10};
  EXPECT_DOUBLE_EQ(Mean(values), 4.5);
  EXPECT_NEAR(StandardDeviation(values), 3.3541019662496847, 1e-12);
  EXPECT_DOUBLE_EQ(Percentile(values, 0), 1);
  EXPECT_DOUBLE_EQ(Percentile(values, 50), 3.5);
  EXPECT_DOUBLE_EQ(Percentile(values, 90), 8.2);
  EXPECT_DOUBLE_EQ(Percentile(values, 100), 10);
}

TEST(Statistics, AreZeroOfNothing) {
  EXPECT_EQ(Mean({}), 0);
  EXPECT_EQ(StandardDeviation({}), 0);
  EXPECT_EQ(Percentile({}, 99), 0);
  EXPECT_EQ(Percentile({7}, 99), 7);
}

}  // namespace
}  // namespace baton::bench
