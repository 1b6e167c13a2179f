#include "tools/simulate/stage_times.h"

#include "gtest/gtest.h"

namespace baton::simulate {
namespace {

scheduler::StepWork Rows(uint64_t rows, uint64_t begin, uint64_t num_tokens) {
  scheduler::StepWork work;
  for (uint64_t i = 0; i < rows; ++i) work.Add(begin, num_tokens, true);
  return work;
}

TEST(StageTimes, AreTheFloorsWhereTheyAreTabulated) {
  const StageTimes times(2, 1.0);
  EXPECT_NEAR(1e3 * times.Seconds(0, Rows(1, 4095, 1)), 0.697, 1e-3);
  EXPECT_NEAR(1e3 * times.Seconds(1, Rows(1, 4095, 1)), 0.730, 1e-3);
  EXPECT_NEAR(1e3 * times.Seconds(0, Rows(64, 4095, 1)), 10.66, 1e-2);
  EXPECT_NEAR(1e3 * times.Seconds(1, Rows(128, 4095, 1)), 14.53, 1e-2);
  EXPECT_NEAR(1e3 * times.Seconds(0, Rows(1, 0, 2048)), 16.4, 1e-1);
  EXPECT_NEAR(1e3 * times.Seconds(0, Rows(1, 30720, 2048)), 44.3, 1.0);
}

TEST(StageTimes, GrowWithTokensAndContext) {
  const StageTimes times(2, 1.0);
  EXPECT_LT(times.Seconds(0, Rows(30, 100, 1)), times.Seconds(0, Rows(40, 100, 1)));
  EXPECT_LT(times.Seconds(0, Rows(30, 100, 1)), times.Seconds(0, Rows(30, 5000, 1)));
  EXPECT_LT(times.Seconds(0, Rows(1, 0, 2048)), times.Seconds(0, Rows(1, 0, 8192)));
  EXPECT_EQ(times.Seconds(0, {}), 0);
}

TEST(StageTimes, FallWithEfficiencyAndShareAmongStages) {
  const scheduler::StepWork work = Rows(64, 2000, 1);
  const double both = StageTimes(2, 1.0).Seconds(0, work) + StageTimes(2, 1.0).Seconds(1, work);
  EXPECT_DOUBLE_EQ(StageTimes(2, 0.5).Seconds(1, work), 2 * StageTimes(2, 1.0).Seconds(1, work));
  EXPECT_NEAR(StageTimes(4, 1.0).Seconds(3, work), both / 4, 1e-9);
  EXPECT_NEAR(StageTimes(1, 1.0).Seconds(0, work), both, 1e-9);
}

}  // namespace
}  // namespace baton::simulate
