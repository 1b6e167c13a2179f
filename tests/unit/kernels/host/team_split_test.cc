#include "kernels/host/team_split.h"

#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(SplitRanks, GivesContiguousRunsOfAlmostEqualLength) {
  EXPECT_EQ(SplitRanks(8, 2).value(), (std::vector<int>{0, 4}));
  EXPECT_EQ(SplitRanks(8, 3).value(), (std::vector<int>{0, 3, 6}));
  EXPECT_EQ(SplitRanks(1, 1).value(), (std::vector<int>{0}));
}

TEST(SplitRanks, RefusesMoreDevicesThanRanks) {
  EXPECT_EQ(SplitRanks(2, 3).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SplitRanks(2, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::kernels
