#include "services/stage_worker/kv_cache/sequence_table.h"

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;

std::vector<uint32_t> Tokens(uint32_t count) {
  std::vector<uint32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), 100);
  return tokens;
}

class SequenceTableTest : public testing::Test {
 protected:
  SequenceTableTest() : table_({1000, 300, 200, 4}) { table_.Reset(16); }

  // Learns sequence `id` of `count` prompt tokens and computes the first `chunk`.
  void Start(uint64_t id, uint32_t count, uint32_t chunk, std::vector<uint32_t> blocks) {
    StepWork work;
    work.new_sequences.push_back({id, Tokens(count), count, sampling_});
    work.chunks.push_back({id, 0, chunk, {}, std::move(blocks), chunk == count});
    ASSERT_TRUE(table_.Apply(work).ok());
  }
  absl::StatusOr<std::unique_ptr<StepBatch>> Continue(ChunkWork chunk) {
    StepWork work;
    work.chunks.push_back(std::move(chunk));
    return table_.Apply(work);
  }

  SequenceTable table_;
  SamplingSettings sampling_;
};

TEST_F(SequenceTableTest, LaysOutRowsOfSeveralSequences) {
  Start(1, 130, 130, {4, 9, 2});
  StepWork work;
  work.epoch = 5;
  work.step_id = 2;
  work.new_sequences.push_back({2, Tokens(3), 3, {}});
  work.chunks.push_back({1, 130, 1, {77}, {}, true});
  work.chunks.push_back({2, 0, 2, {}, {7}, false});
  const auto batch = table_.Apply(work);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ((*batch)->epoch, 5u);
  EXPECT_EQ((*batch)->step_id, 2u);
  EXPECT_THAT((*batch)->token_ids, ElementsAre(77, 100, 101));
  EXPECT_THAT((*batch)->positions, ElementsAre(130, 0, 1));
  EXPECT_THAT((*batch)->sequence_rows, ElementsAre(0, 1, 1));
  EXPECT_EQ((*batch)->max_blocks, 3);
  EXPECT_THAT((*batch)->block_tables, ElementsAre(4, 9, 2, 7, 0, 0));
  ASSERT_EQ((*batch)->draws.size(), 1u);
  EXPECT_EQ((*batch)->draws[0].row, 0);
  EXPECT_EQ((*batch)->draws[0].position, 131u);
}

TEST_F(SequenceTableTest, KeepsHistoryForPenaltiesOnly) {
  Start(1, 3, 3, {0});
  auto batch = Continue({1, 3, 1, {50}, {}, true});
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE((*batch)->draws[0].prompt_tokens.empty());
  sampling_.presence_penalty = 0.5f;
  Start(2, 3, 3, {1});
  batch = Continue({2, 3, 1, {50}, {}, true});
  ASSERT_TRUE(batch.ok());
  EXPECT_THAT((*batch)->draws[0].prompt_tokens, ElementsAre(100, 101, 102));
  EXPECT_THAT((*batch)->draws[0].answer_tokens, ElementsAre(50));
}

TEST_F(SequenceTableTest, MasksDrawsUntilTheAnswerHasItsLeastTokens) {
  sampling_.min_tokens = 2;
  sampling_.masked_token_ids = {5};
  Start(1, 3, 3, {0});
  auto batch = Continue({1, 3, 1, {50}, {}, true});
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE((*batch)->draws[0].masked) << "the answer's second token";
  batch = Continue({1, 4, 1, {51}, {}, true});
  ASSERT_TRUE(batch.ok());
  EXPECT_FALSE((*batch)->draws[0].masked) << "the third";
  // As it comes back with its answer so far: the same position, the same mask.
  StepWork work;
  work.new_sequences.push_back({1, Tokens(4), 3, sampling_});
  work.chunks.push_back({1, 0, 4, {}, {0}, true});
  batch = table_.Apply(work);
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE((*batch)->draws[0].masked);
}

TEST_F(SequenceTableTest, ScoresPromptTokensChunkByChunk) {
  sampling_.num_prompt_logprobs = 2;
  StepWork work;
  work.new_sequences.push_back({1, Tokens(5), 4, sampling_});  // 4 prompt tokens, 1 of the answer
  work.chunks.push_back({1, 0, 2, {}, {0}, false});
  auto batch = table_.Apply(work);
  ASSERT_TRUE(batch.ok());
  ASSERT_EQ((*batch)->prompt_scores.size(), 1u);
  EXPECT_EQ((*batch)->prompt_scores[0].position_begin, 1u);
  EXPECT_THAT((*batch)->prompt_scores[0].targets, ElementsAre(101, 102));
  batch = Continue({1, 2, 3, {}, {}, true});
  ASSERT_TRUE(batch.ok());
  ASSERT_EQ((*batch)->prompt_scores.size(), 1u);
  EXPECT_EQ((*batch)->prompt_scores[0].row_begin, 0);
  EXPECT_EQ((*batch)->prompt_scores[0].position_begin, 3u);
  EXPECT_THAT((*batch)->prompt_scores[0].targets, ElementsAre(103));
  batch = Continue({1, 5, 1, {9}, {}, true});
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE((*batch)->prompt_scores.empty());
}

TEST_F(SequenceTableTest, RefusesInconsistentChunksAndChangesNothing) {
  Start(1, 100, 64, {3});
  struct Bad {
    const char* message;
    ChunkWork chunk;
  };
  const Bad bad_chunks[] = {
      {"not known", {2, 0, 1, {}, {1}, false}},
      {"wrong position", {1, 65, 1, {}, {4}, false}},
      {"wrong position", {1, 63, 1, {}, {}, false}},
      {"tokens known: 100, need 101", {1, 64, 37, {}, {4}, false}},
      {"blocks: 1, need 2", {1, 64, 1, {}, {}, false}},
      {"samples before its end", {1, 64, 1, {}, {4}, true}},
      {"block 3 twice", {1, 64, 1, {}, {3}, false}},
      {"block 5 twice", {1, 64, 1, {}, {5, 5}, false}},
      {"block out of range", {1, 64, 1, {}, {16}, false}},
      {"max_model_len", {1, 64, 1, Tokens(201), {4}, false}},
      {"too many blocks", {1, 64, 1, {}, {4, 5, 6, 7, 8}, false}},
  };
  for (const Bad& bad : bad_chunks) {
    StepWork work;
    // Work before the bad chunk must not be done either.
    work.new_sequences.push_back({9, Tokens(2), 2, {}});
    work.chunks.push_back({9, 0, 2, {}, {10}, true});
    work.chunks.push_back(bad.chunk);
    const absl::Status status = table_.Apply(work).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(bad.message));
    EXPECT_EQ(table_.num_sequences(), 1);
    EXPECT_EQ(table_.num_held_blocks(), 1);
  }
  EXPECT_TRUE(Continue({1, 64, 36, {}, {4}, true}).ok());
}

TEST_F(SequenceTableTest, RefusesAFirstChunkThatLeavesAGap) {
  StepWork work;
  work.new_sequences.push_back({1, Tokens(100), 100, {}});
  work.chunks.push_back({1, 64, 36, {}, {3, 5}, true});
  const absl::Status status = table_.Apply(work).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("wrong position: 64, need 0"));
  EXPECT_EQ(table_.num_sequences(), 0);
}

// Sequence `id` of `count` tokens that begins behind `cached`, with `blocks`, as a whole.
StepWork BehindCached(uint64_t id, uint32_t count, uint32_t cached, std::vector<uint32_t> blocks) {
  StepWork work;
  work.new_sequences.push_back({id, Tokens(count), count, {}, cached});
  work.chunks.push_back({id, cached, count - cached, {}, std::move(blocks), true});
  return work;
}

TEST_F(SequenceTableTest, BeginsBehindWhatIsCached) {
  Start(1, 130, 130, {4, 9, 2});
  const auto batch = table_.Apply(BehindCached(2, 130, 128, {4, 9, 7}));
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->token_ids, ElementsAre(228, 229));
  EXPECT_THAT((*batch)->positions, ElementsAre(128, 129));
  EXPECT_THAT((*batch)->block_tables, ElementsAre(4, 9, 7));
  EXPECT_EQ(table_.num_held_blocks(), 4);
  StepWork leave;
  leave.finished_sequence_ids = {1};
  ASSERT_TRUE(table_.Apply(leave).ok());
  EXPECT_EQ(table_.num_held_blocks(), 3);
  // What ended sequences left can be shared too.
  leave.finished_sequence_ids = {2};
  ASSERT_TRUE(table_.Apply(leave).ok());
  EXPECT_EQ(table_.num_held_blocks(), 0);
  EXPECT_TRUE(table_.Apply(BehindCached(3, 130, 64, {4, 5, 6})).ok());
}

TEST_F(SequenceTableTest, SharesABlockThatAnEarlierRowOfTheStepFills) {
  Start(1, 100, 40, {3});
  StepWork work = BehindCached(2, 100, 64, {3, 5});
  work.chunks.insert(work.chunks.begin(), {1, 40, 60, {}, {4}, true});
  StepWork wrong_order = work;
  std::swap(wrong_order.chunks[0], wrong_order.chunks[1]);
  const absl::Status status = table_.Apply(wrong_order).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("sequence 2: block 3"));
  const auto batch = table_.Apply(work);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->block_tables, ElementsAre(3, 4, 3, 5));
}

TEST_F(SequenceTableTest, RefusesBlocksThatAreNotTheSequencesToReadOrWrite) {
  Start(1, 100, 100, {3, 4});
  const std::pair<const char*, StepWork> bad_steps[] = {
      {"block 4 is to be shared but has 36 tokens", BehindCached(2, 130, 128, {3, 4, 5})},
      {"block 9 is to be shared but has 0 tokens", BehindCached(2, 130, 64, {9, 5, 6})},
      {"block 3 is held by another", BehindCached(2, 130, 0, {3, 5, 6})},
      {"num_cached_tokens is 63", BehindCached(2, 130, 63, {3, 5, 6})},
      {"num_cached_tokens is 128", BehindCached(2, 128, 128, {3, 4})},
  };
  for (const auto& [message, work] : bad_steps) {
    const absl::Status status = table_.Apply(work).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
    EXPECT_EQ(table_.num_held_blocks(), 2);
  }
  // Two newcomers of one step.
  StepWork work = BehindCached(2, 10, 0, {5});
  const StepWork other = BehindCached(3, 10, 0, {5});
  work.new_sequences.push_back(other.new_sequences[0]);
  work.chunks.push_back(other.chunks[0]);
  EXPECT_EQ(table_.Apply(work).status().code(), absl::StatusCode::kInvalidArgument);
  // A full block that others hold is never written again; it is when it is nobody's.
  StepWork leave;
  leave.finished_sequence_ids = {1};
  ASSERT_TRUE(table_.Apply(leave).ok());
  EXPECT_TRUE(table_.Apply(BehindCached(2, 130, 0, {3, 5, 6})).ok());
  EXPECT_FALSE(table_.Apply(BehindCached(3, 130, 64, {4, 7, 8})).ok());
}

TEST_F(SequenceTableTest, SharesNothingOfAnEarlierEpoch) {
  Start(1, 100, 100, {3, 4});
  table_.Reset(16);
  EXPECT_FALSE(table_.Apply(BehindCached(2, 130, 64, {3, 5, 6})).ok());
}

TEST_F(SequenceTableTest, ForgetsFinishedSequencesBeforeAnythingElse) {
  Start(1, 3, 3, {0});
  StepWork work;
  work.finished_sequence_ids = {1};
  work.new_sequences.push_back({2, Tokens(3), 3, {}});
  work.chunks.push_back({2, 0, 3, {}, {0}, true});  // the freed block
  ASSERT_TRUE(table_.Apply(work).ok());
  EXPECT_EQ(table_.num_sequences(), 1);
  EXPECT_EQ(table_.num_held_blocks(), 1);
  work = {};
  work.finished_sequence_ids = {1};
  EXPECT_EQ(table_.Apply(work).status().code(), absl::StatusCode::kInvalidArgument);
  work.finished_sequence_ids = {2};
  work.chunks.push_back({2, 3, 1, {9}, {}, true});
  EXPECT_EQ(table_.Apply(work).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SequenceTableTest, LearnsAPreemptedSequenceAfresh) {
  Start(1, 70, 70, {0, 1});
  Start(1, 71, 71, {5, 6});
  EXPECT_EQ(table_.num_sequences(), 1);
  EXPECT_EQ(table_.num_held_blocks(), 2);
}

TEST_F(SequenceTableTest, ForgetsEverythingAtReset) {
  Start(1, 70, 70, {0, 1});
  table_.Reset(2);
  EXPECT_EQ(table_.num_sequences(), 0);
  EXPECT_EQ(table_.num_held_blocks(), 0);
  EXPECT_FALSE(Continue({1, 70, 1, {9}, {}, true}).ok());
}

}  // namespace
}  // namespace baton::stage
