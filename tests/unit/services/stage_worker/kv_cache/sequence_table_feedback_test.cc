// Rows whose token an earlier step samples: laid out before it is known, learned when it is.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/stage_worker/kv_cache/sequence_table.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;
using Ids = std::vector<uint32_t>;

class SequenceTableFeedback : public testing::Test {
 protected:
  SequenceTableFeedback() : table_({1000, 300, 200, 4}) { table_.Reset(16); }

  SequenceTable table_;
  SamplingSettings sampling_;
};

// A step `step_id` that continues sequence 1 with `chunk`.
StepWork StepOf(uint64_t step_id, ChunkWork chunk) {
  StepWork work;
  work.step_id = step_id;
  work.chunks.push_back(std::move(chunk));
  return work;
}

// The row of sequence 1 at `begin` whose token `feedback_step_id` samples.
ChunkWork FedChunk(uint32_t begin, uint64_t feedback_step_id) {
  ChunkWork chunk;
  chunk.sequence_id = 1;
  chunk.begin = begin;
  chunk.num_tokens = 1;
  chunk.sample = true;
  chunk.feedback_step_id = feedback_step_id;
  return chunk;
}

// Sequence 1 of three prompt tokens, sampled by step 1.
StepWork FirstStep(const SamplingSettings& sampling) {
  StepWork work;
  work.step_id = 1;
  work.new_sequences.push_back({1, Ids{100, 101, 102}, 3, sampling});
  work.chunks.push_back({1, 0, 3, {}, {5}, true});
  return work;
}

TEST_F(SequenceTableFeedback, LaysOutARowWhoseTokenIsFedBack) {
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  const auto batch = table_.Apply(StepOf(2, FedChunk(3, 1)));
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->token_ids, ElementsAre(0));
  EXPECT_THAT((*batch)->positions, ElementsAre(3));
  ASSERT_EQ((*batch)->fed_rows.size(), 1u);
  EXPECT_EQ((*batch)->fed_rows[0].row, 0);
  EXPECT_EQ((*batch)->fed_rows[0].sequence_id, 1u);
  EXPECT_EQ((*batch)->fed_rows[0].step_id, 1u);
  EXPECT_EQ((*batch)->fed_rows[0].draw, -1);
  EXPECT_EQ((*batch)->draws[0].position, 4u);
  // The next one is told: what was fed back counts as known.
  EXPECT_TRUE(table_.Apply(StepOf(3, {1, 4, 1, {77}, {}, true})).ok());
}

TEST_F(SequenceTableFeedback, LearnsWhatWasFedBackForTheHistory) {
  sampling_.presence_penalty = 0.5f;
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  const auto second = table_.Apply(StepOf(2, FedChunk(3, 1)));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ((*second)->fed_rows[0].draw, 0);
  EXPECT_EQ((*second)->draws[0].answer_tokens.size(), 1u);
  table_.LearnToken(1, 3, 70);
  table_.LearnToken(1, 3, 71);  // known already
  table_.LearnToken(1, 5, 72);  // far from ordered
  table_.LearnToken(9, 3, 73);  // unknown sequence
  const auto third = table_.Apply(StepOf(3, FedChunk(4, 2)));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ((*third)->draws[0].answer_tokens.size(), 2u);
  EXPECT_EQ((*third)->draws[0].answer_tokens[0], 70u);
}

TEST_F(SequenceTableFeedback, StructuredOutputHasTheAnswerForItsHistory) {
  auto structured = std::make_shared<StructuredSettings>();
  structured->end_token_ids = {1};
  sampling_.structured = structured;
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  table_.LearnToken(1, 3, 70);
  const auto second = table_.Apply(StepOf(2, FedChunk(3, 1)));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT((*second)->draws[0].answer_tokens, ElementsAre(70));
  EXPECT_TRUE((*second)->draws[0].prompt_tokens.empty());
  structured->end_token_ids = {1000};
  table_.Reset(16);
  EXPECT_EQ(table_.Apply(FirstStep(sampling_)).status().code(), absl::StatusCode::kInvalidArgument);
}

// The scheduler orders the step behind without waiting for the token; the order may be late.
TEST_F(SequenceTableFeedback, LearnsWhatWasDrawnBeforeItWasFedBack) {
  sampling_.presence_penalty = 0.5f;
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  table_.LearnToken(1, 3, 70);
  ASSERT_TRUE(table_.Apply(StepOf(2, FedChunk(3, 1))).ok());
  table_.LearnToken(1, 4, 71);
  const auto third = table_.Apply(StepOf(3, FedChunk(4, 2)));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_THAT((*third)->draws[0].answer_tokens, ElementsAre(70, 71));
}

TEST_F(SequenceTableFeedback, ATokenThatWasToldReplacesTheOneThatWasDrawn) {
  sampling_.presence_penalty = 0.5f;
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  table_.LearnToken(1, 3, 70);
  ASSERT_TRUE(table_.Apply(StepOf(2, {1, 3, 1, {70}, {}, true})).ok());
  // What was drawn at 3 says nothing of 4.
  const auto third = table_.Apply(StepOf(3, FedChunk(4, 2)));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_THAT((*third)->draws[0].answer_tokens, ElementsAre(70, 0));
}

TEST_F(SequenceTableFeedback, RefusesToDrawWithTwoTokensOfTheHistoryUnknown) {
  sampling_.presence_penalty = 0.5f;
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  ASSERT_TRUE(table_.Apply(StepOf(2, FedChunk(3, 1))).ok());
  EXPECT_EQ(table_.Apply(StepOf(3, FedChunk(4, 2))).status().code(),
            absl::StatusCode::kInvalidArgument);
  SequenceTable without_head({1000, 300, 200, 4, /*draws=*/false});
  without_head.Reset(16);
  ASSERT_TRUE(without_head.Apply(FirstStep(sampling_)).ok());
  ASSERT_TRUE(without_head.Apply(StepOf(2, FedChunk(3, 1))).ok());
  const auto third = without_head.Apply(StepOf(3, FedChunk(4, 2)));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_TRUE((*third)->draws[0].prompt_tokens.empty());
}

TEST_F(SequenceTableFeedback, RefusesATokenFedBackThatNoStepSamples) {
  ASSERT_TRUE(table_.Apply(FirstStep(sampling_)).ok());
  const auto code = [&](const ChunkWork& chunk) {
    return table_.Apply(StepOf(2, chunk)).status().code();
  };
  EXPECT_EQ(code(FedChunk(3, 2)), absl::StatusCode::kInvalidArgument);  // another step
  EXPECT_EQ(code(FedChunk(4, 1)), absl::StatusCode::kInvalidArgument);  // a gap
  ChunkWork two = FedChunk(3, 1);
  two.num_tokens = 2;
  EXPECT_EQ(code(two), absl::StatusCode::kInvalidArgument);
  ChunkWork told = FedChunk(3, 1);
  told.appended_token_ids = {70};
  EXPECT_EQ(code(told), absl::StatusCode::kInvalidArgument);
  StepWork fresh = FirstStep(sampling_);
  fresh.step_id = 2;
  fresh.new_sequences[0].sequence_id = 2;
  fresh.chunks[0] = FedChunk(3, 1);
  fresh.chunks[0].sequence_id = 2;
  EXPECT_EQ(table_.Apply(fresh).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(FedChunk(3, 1)), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace baton::stage
