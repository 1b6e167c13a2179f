#include "services/stage_worker/model/step_graph.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using ::testing::ElementsAre;

constexpr GraphLimits kGraphLimits{.max_rows = 100, .max_blocks = 300};

TEST(StepGraph, IsTheSmallestThatTakesTheStep) {
  EXPECT_EQ(GraphFor(1, 1, kGraphLimits)->num_rows, 1);
  EXPECT_EQ(GraphFor(5, 1, kGraphLimits)->num_rows, 8);
  EXPECT_EQ(GraphFor(1, 1, kGraphLimits)->max_blocks, 16);
  EXPECT_EQ(GraphFor(1, 17, kGraphLimits)->max_blocks, 64);
  EXPECT_EQ(GraphFor(1, 257, kGraphLimits)->max_blocks, 300);
}

TEST(StepGraph, IsNoneForLargePiecesOfPromptsAndWithoutLimits) {
  EXPECT_FALSE(GraphFor(97, 1, kGraphLimits).has_value());  // 128 rows are more than a step has
  EXPECT_FALSE(GraphFor(2048, 1, {.max_rows = 4096, .max_blocks = 300}).has_value());
  EXPECT_FALSE(GraphFor(0, 1, kGraphLimits).has_value());
  EXPECT_FALSE(GraphFor(1, 301, kGraphLimits).has_value());
  EXPECT_FALSE(GraphFor(1, 1, {}).has_value());
}

TEST(StepGraph, IsNoneForManyRowsWithLongTables) {
  constexpr GraphLimits kLongest{.max_rows = 8192, .max_blocks = 2560};
  EXPECT_EQ(GraphFor(256, 256, kLongest)->max_blocks, 256);
  EXPECT_EQ(GraphFor(64, 257, kLongest)->max_blocks, 1024);
  EXPECT_FALSE(GraphFor(65, 257, kLongest).has_value());
  EXPECT_EQ(GraphFor(24, 1025, kLongest)->max_blocks, 2560);
  EXPECT_FALSE(GraphFor(25, 1025, kLongest).has_value());
}

TEST(StepGraph, AllAreThoseThatStepsGet) {
  struct Case {
    GraphLimits limits;
    size_t num_graphs;
  };
  // The second: 14 numbers of rows with three widths, 10 with a fourth, 7 with a fifth.
  for (const Case& c : {Case{kGraphLimits, 11 * 4}, Case{{8192, 2560}, 14 * 3 + 10 + 7}}) {
    std::set<uint64_t> made;
    for (const GraphShape& graph : AllGraphs(c.limits)) made.insert(graph.key());
    std::set<uint64_t> wanted;
    for (int64_t rows = 1; rows <= 300; ++rows) {
      for (int64_t blocks = 1; blocks <= c.limits.max_blocks; ++blocks) {
        const auto graph = GraphFor(rows, blocks, c.limits);
        if (!graph.has_value()) continue;
        ASSERT_GE(graph->num_rows, rows);
        ASSERT_GE(graph->max_blocks, blocks);
        wanted.insert(graph->key());
      }
    }
    EXPECT_EQ(made, wanted);
    EXPECT_EQ(made.size(), c.num_graphs);
  }
  EXPECT_TRUE(AllGraphs({}).empty());
}

TEST(StepGraph, PadsRowsWithThoseOfNoSequence) {
  StepBatch batch;
  batch.token_ids = {7, 8, 9};
  batch.positions = {70, 71, 3};
  batch.sequence_rows = {0, 0, 1};
  batch.sequence_ids = {1, 2};
  batch.max_blocks = 2;
  batch.block_tables = {5, 6, 4, 0};
  const PaddedRows rows = PadRows(batch, {.num_rows = 4, .max_blocks = 3});
  EXPECT_THAT(rows.token_ids, ElementsAre(7, 8, 9, 0));
  EXPECT_THAT(rows.positions, ElementsAre(70, 71, 3, 0));
  EXPECT_THAT(rows.sequence_rows, ElementsAre(0, 0, 1, -1));
  EXPECT_THAT(rows.block_tables, ElementsAre(5, 6, 0, 4, 0, 0));
}

}  // namespace
}  // namespace baton::stage
