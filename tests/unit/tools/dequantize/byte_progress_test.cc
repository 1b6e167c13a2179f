#include "tools/dequantize/byte_progress.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

constexpr uint64_t kGb = 1'000'000'000;

TEST(ByteProgressText, SaysHowFarTheFilesAre) {
  EXPECT_EQ(ByteProgressText(1 * kGb, 4 * kGb, absl::Seconds(2)),
            "[=======                       ]  25 %  1.00 of 4.00 GB  0.50 GB/s  6 s left");
  EXPECT_EQ(ByteProgressText(4 * kGb, 4 * kGb, absl::Seconds(8)),
            "[==============================] 100 %  4.00 of 4.00 GB  0.50 GB/s  0 s left");
}

TEST(ByteProgressText, SaysNoTimeLeftWhereNothingIsDone) {
  EXPECT_EQ(ByteProgressText(0, 4 * kGb, absl::Seconds(2)),
            "[                              ]   0 %  0.00 of 4.00 GB  0.00 GB/s");
}

TEST(ByteProgressText, TakesNothingToDoForAllDone) {
  EXPECT_EQ(ByteProgressText(0, 0, absl::ZeroDuration()),
            "[==============================] 100 %  0.00 of 0.00 GB  0.00 GB/s");
}

// A file that grows while it is read.
TEST(ByteProgressText, IsNeverMoreThanAll) {
  EXPECT_EQ(ByteProgressText(5 * kGb, 4 * kGb, absl::Seconds(8)),
            ByteProgressText(4 * kGb, 4 * kGb, absl::Seconds(8)));
}

TEST(ByteProgress, AlwaysDrawsTheEnd) {
  std::ostringstream err;
  ByteProgress bar(err);
  bar.Show(1, 4);
  EXPECT_THAT(err.str(), testing::StartsWith("\r\033[K["));
  EXPECT_THAT(err.str(), testing::Not(testing::HasSubstr("\n")));
  bar.Show(4, 4);
  EXPECT_THAT(err.str(), testing::HasSubstr("100 %"));
  EXPECT_THAT(err.str(), testing::EndsWith(" s left\n"));
}

TEST(ByteProgress, EndsItsLineWhereThereIsNothingToDo) {
  std::ostringstream err;
  ByteProgress(err).Show(0, 0);
  EXPECT_THAT(err.str(), testing::EndsWith("\n"));
}

}  // namespace
}  // namespace baton
