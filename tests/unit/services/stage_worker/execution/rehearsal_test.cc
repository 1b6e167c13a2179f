#include "services/stage_worker/execution/rehearsal.h"

#include <algorithm>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

WorkspaceShape RehearsedShape() {
  WorkspaceShape shape;
  shape.config = fakes::ToyConfig();
  shape.stage = {0, 3, true, true};
  shape.max_step_tokens = 400;
  shape.max_step_sequences = 5;
  shape.max_model_len = 130;
  return shape;
}

TEST(Rehearsal, FillsTheLargestStep) {
  const StepBatch batch = MakeRehearsal(RehearsedShape(), 400);
  EXPECT_EQ(batch.num_tokens(), 400);
  EXPECT_EQ(batch.num_sequences(), 4);
  EXPECT_EQ(batch.max_blocks, 3);
  EXPECT_EQ(batch.block_tables.size(), 12u);
  EXPECT_EQ(batch.draws.size(), static_cast<size_t>(kMaxLogitRows));
  EXPECT_EQ(NumBlocksOf(batch), 12);
}

TEST(Rehearsal, KeepsToTheLimits) {
  WorkspaceShape shape = RehearsedShape();
  shape.max_step_sequences = 2;
  const StepBatch batch = MakeRehearsal(shape, 400);
  EXPECT_EQ(batch.num_tokens(), 260);
  EXPECT_EQ(batch.num_sequences(), 2);
  EXPECT_EQ(*std::max_element(batch.positions.begin(), batch.positions.end()), 129);
}

TEST(Rehearsal, NamesABlockForEveryPosition) {
  const StepBatch batch = MakeRehearsal(RehearsedShape(), 300);
  std::set<std::pair<int32_t, int32_t>> places;
  for (int64_t row = 0; row < batch.num_tokens(); ++row) {
    const int32_t sequence = batch.sequence_rows[row];
    const int32_t position = batch.positions[row];
    places.insert({batch.block_tables[sequence * batch.max_blocks + position / 64], position % 64});
  }
  EXPECT_EQ(places.size(), 300u);
}

TEST(Rehearsal, ExpandsTheEndsOfTheLongestPrompts) {
  WorkspaceShape shape = RehearsedShape();
  shape.max_step_tokens = 100;
  shape.max_model_len = 1000;
  const StepBatch batch = MakeExpandedRehearsal(shape);
  EXPECT_EQ(batch.expanded_rows, std::vector<RowRange>({{0, 100}}));
  EXPECT_EQ(batch.positions.front(), 900);
  EXPECT_EQ(batch.positions.back(), 999);
  EXPECT_EQ(batch.max_blocks, 16);
  EXPECT_EQ(batch.block_tables[13], 0);
  EXPECT_EQ(batch.block_tables[14], 0);
  EXPECT_EQ(batch.block_tables[15], 1);
  EXPECT_EQ(NumBlocksOf(batch), 2);
}

TEST(Rehearsal, ExpandsSeveralPromptsWhereOneDoesNotFillAStep) {
  const StepBatch batch = MakeExpandedRehearsal(RehearsedShape());
  EXPECT_EQ(batch.num_sequences(), 4);
  EXPECT_EQ(batch.expanded_rows, std::vector<RowRange>({{0, 400}}));
  EXPECT_EQ(batch.positions[130], 0);
  EXPECT_EQ(NumBlocksOf(batch), 12);
}

TEST(Rehearsal, DrawsNothingWithoutAHead) {
  WorkspaceShape shape = RehearsedShape();
  shape.stage.has_head = false;
  EXPECT_TRUE(MakeRehearsal(shape, 8).draws.empty());
  EXPECT_EQ(MakeRehearsal(shape, 1).num_tokens(), 1);
}

}  // namespace
}  // namespace baton::stage
