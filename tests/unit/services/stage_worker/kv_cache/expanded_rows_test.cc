// Which rows of a step attend in the expanded form.
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/stage_worker/kv_cache/sequence_table.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr SequenceLimits kExpanding{.vocab_size = 1000,
                                    .max_model_len = 300,
                                    .max_step_tokens = 400,
                                    .max_step_sequences = 4,
                                    .expand_prompts = true};

NewSequenceWork Sequence(uint64_t id, uint32_t num_prompt_tokens, uint32_t num_answer_tokens = 0) {
  std::vector<uint32_t> tokens(num_prompt_tokens + num_answer_tokens);
  std::iota(tokens.begin(), tokens.end(), 100);
  return {id, std::move(tokens), num_prompt_tokens, {}};
}

std::vector<RowRange> ExpandedRows(SequenceTable& table, const StepWork& work) {
  const auto batch = table.Apply(work);
  EXPECT_TRUE(batch.ok()) << batch.status();
  return batch.ok() ? (*batch)->expanded_rows : std::vector<RowRange>{{-1, -1}};
}

class ExpandedRowsTest : public testing::Test {
 protected:
  ExpandedRowsTest() : table_(kExpanding) { table_.Reset(16); }

  SequenceTable table_;
};

TEST_F(ExpandedRowsTest, AreThoseOfBlocksThatLieInThePromptAsAWhole) {
  StepWork work;
  work.new_sequences = {Sequence(1, 130), Sequence(2, 63), Sequence(3, 64)};
  work.chunks = {
      {1, 0, 130, {}, {0, 1, 2}, true}, {2, 0, 63, {}, {3}, true}, {3, 0, 64, {}, {4}, true}};
  EXPECT_THAT(ExpandedRows(table_, work), ElementsAre(RowRange{0, 128}, RowRange{193, 257}));
}

TEST_F(ExpandedRowsTest, AreTheSameHoweverAPromptIsCut) {
  StepWork first;
  first.new_sequences = {Sequence(1, 130)};
  first.chunks = {{1, 0, 100, {}, {0, 1}, false}};
  EXPECT_THAT(ExpandedRows(table_, first), ElementsAre(RowRange{0, 100}));
  StepWork second;
  second.chunks = {{1, 100, 30, {}, {2}, true}};
  EXPECT_THAT(ExpandedRows(table_, second), ElementsAre(RowRange{0, 28}));
  StepWork third;
  third.chunks = {{1, 130, 1, {7}, {}, true}};
  EXPECT_THAT(ExpandedRows(table_, third), IsEmpty());
}

TEST_F(ExpandedRowsTest, AreNoneOfAnAnswerThatIsComputedAgain) {
  StepWork work;
  work.new_sequences = {Sequence(1, 70, 120)};
  work.chunks = {{1, 0, 190, {}, {0, 1, 2}, true}};
  EXPECT_THAT(ExpandedRows(table_, work), ElementsAre(RowRange{0, 64}));
}

TEST_F(ExpandedRowsTest, OfNeighboursAreOneRange) {
  StepWork work;
  work.new_sequences = {Sequence(1, 128), Sequence(2, 64)};
  work.chunks = {{1, 0, 128, {}, {0, 1}, true}, {2, 0, 64, {}, {2}, true}};
  EXPECT_THAT(ExpandedRows(table_, work), ElementsAre(RowRange{0, 192}));
}

TEST(ExpandedRows, AreNoneWhereTheStageDoesNotExpand) {
  SequenceLimits limits = kExpanding;
  limits.expand_prompts = false;
  SequenceTable table(limits);
  table.Reset(16);
  StepWork work;
  work.new_sequences = {Sequence(1, 130)};
  work.chunks = {{1, 0, 130, {}, {0, 1, 2}, true}};
  EXPECT_THAT(ExpandedRows(table, work), IsEmpty());
}

}  // namespace
}  // namespace baton::stage
