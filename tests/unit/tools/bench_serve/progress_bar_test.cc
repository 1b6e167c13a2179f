#include "tools/bench_serve/progress_bar.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

TEST(ProgressText, SaysHowFarTheRunIs) {
  EXPECT_EQ(ProgressText(5, 0, 10, absl::Seconds(2)),
            " 50%|##########          | 5/10 [00:02, 2.5 req/s]");
  EXPECT_EQ(ProgressText(10, 3, 10, absl::Seconds(100)),
            "100%|####################| 10/10 [01:40, 0.1 req/s, 3 failed]");
}

TEST(ProgressBar, AlwaysDrawsTheEnd) {
  std::ostringstream out;
  ProgressBar bar(out, 2);
  bar.Show(1, 0);
  bar.Show(2, 1);
  EXPECT_THAT(out.str(), testing::HasSubstr("1/2"));
  EXPECT_THAT(out.str(), testing::HasSubstr("2/2"));
  EXPECT_THAT(out.str(), testing::EndsWith("1 failed]\n"));
}

}  // namespace
}  // namespace baton::bench
