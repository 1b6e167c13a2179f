#include "services/scheduler/pipeline/progress_watch.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);

MonotonicTime AtSeconds(int seconds) { return MonotonicTime() + absl::Seconds(seconds); }

TEST(ProgressWatch, BlamesTheFirstStageThatOwesAStep) {
  ProgressWatch watch(3, kTimeout);
  watch.Sent(1, 0, AtSeconds(0));
  watch.Finished(0, 1, AtSeconds(50));
  EXPECT_FALSE(watch.Stalled(AtSeconds(110)).has_value());  // stage 1 got its work at 50
  EXPECT_EQ(watch.Stalled(AtSeconds(111)), 1u);
  watch.Finished(1, 1, AtSeconds(112));
  EXPECT_FALSE(watch.Stalled(AtSeconds(172)).has_value());
  EXPECT_EQ(watch.Stalled(AtSeconds(173)), 2u);
}

TEST(ProgressWatch, CountsFromTheLastProgressWhileStepsKeepComing) {
  ProgressWatch watch(1, kTimeout);
  watch.Sent(1, 0, AtSeconds(0));
  watch.Sent(2, 0, AtSeconds(1));
  watch.Finished(0, 1, AtSeconds(40));
  watch.Sent(3, 0, AtSeconds(99));
  EXPECT_FALSE(watch.Stalled(AtSeconds(100)).has_value());
  EXPECT_EQ(watch.Stalled(AtSeconds(101)), 0u);
}

TEST(ProgressWatch, AnIdleStageIsNeverStalled) {
  ProgressWatch watch(2, kTimeout);
  watch.Sent(1, 0, AtSeconds(0));
  watch.Finished(0, 1, AtSeconds(1));
  watch.Finished(1, 1, AtSeconds(2));
  EXPECT_FALSE(watch.Stalled(AtSeconds(100000)).has_value());
  watch.Sent(2, 0, AtSeconds(100000));
  EXPECT_FALSE(watch.Stalled(AtSeconds(100060)).has_value());
  watch.Forgive(AtSeconds(100060));
  EXPECT_FALSE(watch.Stalled(AtSeconds(100120)).has_value());
  watch.Reset();
  EXPECT_FALSE(watch.Stalled(AtSeconds(200000)).has_value());
}

TEST(ProgressWatch, AStageThatWaitsForATokenHasNoWork) {
  ProgressWatch watch(2, kTimeout);
  watch.Sent(1, 0, AtSeconds(0));
  watch.Finished(0, 1, AtSeconds(1));
  watch.Sent(2, 1, AtSeconds(1));
  watch.Sent(3, 0, AtSeconds(1));
  EXPECT_EQ(watch.Stalled(AtSeconds(62)), 1u);
  watch.Finished(1, 1, AtSeconds(63));
  EXPECT_FALSE(watch.Stalled(AtSeconds(123)).has_value());
  EXPECT_EQ(watch.Stalled(AtSeconds(124)), 0u);
}

}  // namespace
}  // namespace baton::scheduler
