#include "tools/baton/load_progress.h"

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(LoadProgress, SaysLittleBeforeBytesMove) {
  LoadProgress progress(2);
  EXPECT_EQ(progress.Describe(), "loading weights");
  progress.Update("baton_loader_sent_bytes_total 0\nnonsense\n\n", absl::UnixEpoch());
  EXPECT_EQ(progress.Describe(), "loading weights");
}

TEST(LoadProgress, AveragesStagesAndTellsRateAndRest) {
  LoadProgress progress(2);
  progress.Update("baton_loader_sent_bytes_total 1\n", absl::UnixEpoch());
  progress.Update(
      "# TYPE baton_loader_load_fraction gauge\n"
      "baton_loader_load_fraction{stage=\"0\"} 0.5\n"
      "baton_loader_load_fraction{stage=\"1\"} 0.3\n"
      "baton_loader_sent_bytes_total 4294967296\n",
      absl::UnixEpoch() + absl::Seconds(2));
  EXPECT_DOUBLE_EQ(progress.fraction(), 0.4);
  EXPECT_EQ(progress.Describe(), "loading weights: 40 %, 4 GiB at 2 GiB/s, 3 s left");
}

TEST(LoadProgress, CountsStagesThatHaveNotBegun) {
  LoadProgress progress(4);
  progress.Update(
      "baton_loader_load_fraction{stage=\"0\"} 1\nbaton_loader_sent_bytes_total 1073741824\n",
      absl::UnixEpoch());
  EXPECT_DOUBLE_EQ(progress.fraction(), 0.25);
}

}  // namespace
}  // namespace baton
