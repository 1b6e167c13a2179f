#include "services/stage_worker/membership/work_clock.h"

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

absl::Time At(int second) { return absl::UnixEpoch() + absl::Seconds(second); }

TEST(WorkClock, StandsWhileThereIsNoWork) {
  WorkClock clock;
  EXPECT_EQ(clock.without_progress(At(100)), absl::ZeroDuration());
  clock.Add(At(100));
  clock.Finish(At(101));
  EXPECT_EQ(clock.without_progress(At(200)), absl::ZeroDuration());
}

TEST(WorkClock, RunsFromWhenTheFirstWorkCame) {
  WorkClock clock;
  clock.Add(At(10));
  clock.Add(At(15));  // more of it is no progress
  EXPECT_EQ(clock.without_progress(At(20)), absl::Seconds(10));
}

TEST(WorkClock, BeginsAnewWithEveryPieceThatIsFinished) {
  WorkClock clock;
  clock.Add(At(10));
  clock.Add(At(10));
  clock.Finish(At(18));
  EXPECT_EQ(clock.without_progress(At(20)), absl::Seconds(2));
  clock.Finish(At(21));
  EXPECT_EQ(clock.without_progress(At(99)), absl::ZeroDuration());
  clock.Add(At(100));
  EXPECT_EQ(clock.without_progress(At(103)), absl::Seconds(3));
}

TEST(WorkClock, ForgetsWhatIsDropped) {
  WorkClock clock;
  clock.Add(At(10));
  clock.Add(At(10));
  clock.Clear();
  EXPECT_EQ(clock.without_progress(At(99)), absl::ZeroDuration());
  clock.Finish(At(100));  // of what was dropped
  EXPECT_EQ(clock.without_progress(At(200)), absl::ZeroDuration());
  clock.Add(At(300));
  EXPECT_EQ(clock.without_progress(At(304)), absl::Seconds(4));
}

}  // namespace
}  // namespace baton::stage
