#include "services/scheduler/pipeline/progress_watch.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);

MonotonicTime At(int seconds) { return MonotonicTime() + absl::Seconds(seconds); }

TEST(ProgressWatch, BlamesTheFirstStageThatOwesAStep) {
  ProgressWatch watch(3, kTimeout);
  watch.Sent(1, 0, At(0));
  watch.Finished(0, 1, At(50));
  EXPECT_FALSE(watch.Stalled(At(110)).has_value());  // stage 1 got its work at 50
  EXPECT_EQ(watch.Stalled(At(111)), 1u);
  watch.Finished(1, 1, At(112));
  EXPECT_FALSE(watch.Stalled(At(172)).has_value());
  EXPECT_EQ(watch.Stalled(At(173)), 2u);
}

TEST(ProgressWatch, CountsFromTheLastProgressWhileStepsKeepComing) {
  ProgressWatch watch(1, kTimeout);
  watch.Sent(1, 0, At(0));
  watch.Sent(2, 0, At(1));
  watch.Finished(0, 1, At(40));
  watch.Sent(3, 0, At(99));
  EXPECT_FALSE(watch.Stalled(At(100)).has_value());
  EXPECT_EQ(watch.Stalled(At(101)), 0u);
}

TEST(ProgressWatch, AnIdleStageIsNeverStalled) {
  ProgressWatch watch(2, kTimeout);
  watch.Sent(1, 0, At(0));
  watch.Finished(0, 1, At(1));
  watch.Finished(1, 1, At(2));
  EXPECT_FALSE(watch.Stalled(At(100000)).has_value());
  watch.Sent(2, 0, At(100000));
  EXPECT_FALSE(watch.Stalled(At(100060)).has_value());
  watch.Forgive(At(100060));
  EXPECT_FALSE(watch.Stalled(At(100120)).has_value());
  watch.Reset();
  EXPECT_FALSE(watch.Stalled(At(200000)).has_value());
}

TEST(ProgressWatch, AStageThatWaitsForATokenHasNoWork) {
  ProgressWatch watch(2, kTimeout);
  watch.Sent(1, 0, At(0));
  watch.Finished(0, 1, At(1));
  watch.Sent(2, 1, At(1));
  watch.Sent(3, 0, At(1));
  EXPECT_EQ(watch.Stalled(At(62)), 1u);
  watch.Finished(1, 1, At(63));
  EXPECT_FALSE(watch.Stalled(At(123)).has_value());
  EXPECT_EQ(watch.Stalled(At(124)), 0u);
}

}  // namespace
}  // namespace baton::scheduler
