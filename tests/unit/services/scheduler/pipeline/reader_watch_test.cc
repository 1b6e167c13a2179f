#include "services/scheduler/pipeline/reader_watch.h"

#include <cstddef>
#include <vector>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

using Ids = std::vector<SequenceId>;

constexpr size_t kMost = 4;

MonotonicTime After(int seconds) { return MonotonicTime() + absl::Seconds(seconds); }

TEST(ReaderWatch, NamesThoseThatAreBehindForTooLong) {
  ReaderWatch watch(absl::Seconds(60), kMost);
  EXPECT_EQ(watch.next_due(), MonotonicTime::max());
  EXPECT_TRUE(watch.Wait(7, "a", After(1)));
  EXPECT_TRUE(watch.Wait(3, "a", After(2)));
  EXPECT_EQ(watch.next_due(), After(61));
  EXPECT_EQ(watch.Stalled(After(60)), Ids());
  EXPECT_EQ(watch.Stalled(After(61)), Ids{7});
  EXPECT_EQ(watch.Stalled(After(62)), (Ids{7, 3}));
}

TEST(ReaderWatch, CountsFromWhenOneFellBehind) {
  ReaderWatch watch(absl::Seconds(60), kMost);
  EXPECT_TRUE(watch.Wait(7, "a", After(1)));
  EXPECT_FALSE(watch.Wait(7, "a", After(50)));
  EXPECT_EQ(watch.Stalled(After(61)), Ids{7});
  watch.Forget(7);
  EXPECT_EQ(watch.Stalled(After(61)), Ids());
  watch.Forget(7);
  EXPECT_TRUE(watch.Wait(7, "a", After(70)));
  EXPECT_EQ(watch.Stalled(After(129)), Ids());
}

TEST(ReaderWatch, WhoTakesSomethingHasAllItsTimeAgain) {
  ReaderWatch watch(absl::Seconds(60), kMost);
  watch.Wait(7, "a", After(1));
  watch.Wait(3, "a", After(2));
  EXPECT_TRUE(watch.Renew(7, After(50)));
  EXPECT_FALSE(watch.Renew(7, After(40))) << "that was before";
  EXPECT_FALSE(watch.Renew(9, After(40))) << "it is not behind";
  EXPECT_EQ(watch.Stalled(After(109)), Ids{3});
  EXPECT_EQ(watch.Stalled(After(110)), (Ids{3, 7}));
  EXPECT_EQ(watch.next_due(), After(62));
}

TEST(ReaderWatch, TimeThatItSleptDoesNotCount) {
  ReaderWatch watch(absl::Seconds(60), kMost);
  watch.Wait(7, "a", After(1));
  watch.Wait(3, "a", After(2));
  watch.Forgive(absl::Seconds(100));
  EXPECT_EQ(watch.Stalled(After(160)), Ids());
  EXPECT_EQ(watch.Stalled(After(161)), Ids{7});
  EXPECT_EQ(watch.next_due(), After(161));
}

TEST(ReaderWatch, BeyondTheBoundThoseOfTheKeyThatHasMostAreTooMany) {
  ReaderWatch watch(absl::Seconds(60), kMost);
  watch.Wait(1, "a", After(1));
  watch.Wait(2, "b", After(2));
  watch.Wait(3, "b", After(3));
  watch.Wait(4, "a", After(4));
  EXPECT_EQ(watch.TooMany(), Ids()) << "as many as may be";
  watch.Wait(5, "b", After(5));
  EXPECT_EQ(watch.TooMany(), (Ids{2, 3, 5}));
  watch.Renew(2, After(6));
  EXPECT_EQ(watch.since(2), After(6));
  watch.Forget(3);
  EXPECT_EQ(watch.TooMany(), Ids());
}

}  // namespace
}  // namespace baton::scheduler
