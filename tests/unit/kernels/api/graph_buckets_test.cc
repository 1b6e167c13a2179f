#include "kernels/api/graph_buckets.h"

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(GraphBuckets, AscendFromOneRow) {
  const auto buckets = GraphBuckets();
  ASSERT_FALSE(buckets.empty());
  EXPECT_EQ(buckets.front(), 1);
  for (size_t i = 1; i < buckets.size(); ++i) EXPECT_LT(buckets[i - 1], buckets[i]);
}

TEST(GraphBuckets, GiveEveryStepTheSmallestWithRoom) {
  const auto buckets = GraphBuckets();
  for (int64_t rows = 1; rows <= buckets.back(); ++rows) {
    const auto bucket = GraphBucketFor(rows, buckets.back());
    ASSERT_TRUE(bucket.has_value()) << rows;
    EXPECT_GE(*bucket, rows);
    for (const int64_t other : buckets) EXPECT_FALSE(other >= rows && other < *bucket) << rows;
  }
}

TEST(GraphBuckets, WasteAtMostHalfOfTheRowsAndAThirdFromNineOn) {
  for (int64_t rows = 1; rows <= GraphBuckets().back(); ++rows) {
    const int64_t bucket = *GraphBucketFor(rows, GraphBuckets().back());
    const int64_t share = rows < 9 ? 2 : 3;
    EXPECT_LE(share * (bucket - rows), bucket) << rows;
  }
}

TEST(GraphBuckets, LeaveLargeStepsWithoutAGraph) {
  EXPECT_EQ(GraphBucketFor(GraphBuckets().back() + 1, 1 << 20), std::nullopt);
}

TEST(GraphBuckets, KeepToWhatTheStepMayHold) {
  EXPECT_EQ(GraphBucketFor(5, 8), 8);
  EXPECT_EQ(GraphBucketFor(5, 7), std::nullopt);
}

}  // namespace
}  // namespace baton::kernels
