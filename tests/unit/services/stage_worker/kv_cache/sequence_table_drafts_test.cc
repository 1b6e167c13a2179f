// Chunks that end with guesses.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/stage_worker/kv_cache/sequence_table.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<uint32_t>;

// A stage that samples, of sequences with up to 3 drafts; sequence 1 has a prompt of 3 tokens.
class SequenceTableDrafts : public testing::Test {
 protected:
  explicit SequenceTableDrafts(bool draws = true)
      : table_({.vocab_size = 1000,
                .max_model_len = 300,
                .max_step_tokens = 200,
                .max_step_sequences = 4,
                .draws = draws,
                .max_drafts = 3}) {
    table_.Reset(16);
  }

  void Start(const SamplingSettings& sampling = {}) {
    StepWork work;
    work.new_sequences.push_back({1, {101, 102, 103}, 3, sampling});
    work.chunks.push_back({1, 0, 3, {}, {5}, true});
    const auto batch = table_.Apply(work);
    ASSERT_TRUE(batch.ok()) << batch.status();
  }
  absl::StatusOr<std::unique_ptr<StepBatch>> Continue(uint32_t begin, Ids appended, Ids drafts,
                                                      Ids blocks = {}) {
    StepWork work;
    ChunkWork chunk;
    chunk.sequence_id = 1;
    chunk.begin = begin;
    chunk.num_tokens = static_cast<uint32_t>(1 + drafts.size());
    chunk.appended_token_ids = std::move(appended);
    chunk.new_block_ids = std::move(blocks);
    chunk.sample = true;
    chunk.draft_token_ids = std::move(drafts);
    work.chunks.push_back(std::move(chunk));
    return table_.Apply(work);
  }

  SequenceTable table_;
};

TEST_F(SequenceTableDrafts, LaysOutARowForEachGuess) {
  SamplingSettings sampling;
  sampling.presence_penalty = 1.0f;
  sampling.min_tokens = 2;
  sampling.masked_token_ids = {1};
  Start(sampling);
  const auto batch = Continue(3, {10}, {11, 12});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->token_ids, ElementsAre(10, 11, 12));
  EXPECT_THAT((*batch)->positions, ElementsAre(3, 4, 5));
  EXPECT_THAT((*batch)->next_token_ids, ElementsAre(11, 12, 0));
  const std::vector<DrawRow>& draws = (*batch)->draws;
  ASSERT_EQ(draws.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(draws[i].row, static_cast<int32_t>(i));
    EXPECT_EQ(draws[i].position, 4 + i);
    EXPECT_EQ(draws[i].depth, i);
    EXPECT_EQ(draws[i].masked, i == 0);  // one token of the answer is there before the first draw
  }
  EXPECT_EQ(draws[0].draft, 11u);
  EXPECT_EQ(draws[1].draft, 12u);
  EXPECT_FALSE(draws[2].draft.has_value());
  EXPECT_THAT(draws[0].answer_tokens, ElementsAre(10));
  EXPECT_THAT(draws[2].answer_tokens, ElementsAre(10, 11, 12));
}

TEST_F(SequenceTableDrafts, HasNoRoomBehindTheLongestSequence) {
  StepWork work;
  work.new_sequences.push_back({1, Ids(200, 7), 200, {}});
  work.chunks.push_back({1, 0, 200, {}, {5, 6, 7, 8}, true});
  ASSERT_TRUE(table_.Apply(work).ok());
  StepWork more;
  more.new_sequences.push_back({2, Ids(298, 7), 298, {}});
  more.chunks.push_back({2, 0, 150, {}, {0, 1, 2, 3, 4}, false});
  ASSERT_TRUE(table_.Apply(more).ok());
  StepWork rest;
  rest.chunks.push_back({2, 150, 148, {}, {}, true});
  rest.chunks.push_back({1, 200, 1, {9}, {}, true});
  const auto batch = table_.Apply(rest);
  ASSERT_TRUE(batch.ok()) << batch.status();
  // Five blocks hold 320 positions, but there are 300.
  EXPECT_THAT((*batch)->capacities, ElementsAre(300, 256));
}

TEST_F(SequenceTableDrafts, KnowsTheTokenBehindEachRowOfAPrompt) {
  StepWork work;
  work.new_sequences.push_back({1, {101, 102, 103}, 3, {}});
  work.chunks.push_back({1, 0, 2, {}, {5}, false});
  EXPECT_THAT((*table_.Apply(work))->next_token_ids, ElementsAre(102, 103));
}

TEST_F(SequenceTableDrafts, GoesOnBehindThoseThatWereRight) {
  for (uint32_t num_right : {0u, 1u, 2u}) {
    table_.Reset(16);
    Start();
    ASSERT_TRUE(Continue(3, {10}, {11, 12}).ok());
    Ids appended = {11, 12};
    appended.resize(num_right);
    appended.push_back(50);
    const auto batch = Continue(4 + num_right, appended, {});
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_THAT((*batch)->token_ids, ElementsAre(50));
    EXPECT_THAT((*batch)->positions, ElementsAre(static_cast<int32_t>(4 + num_right)));
  }
}

TEST_F(SequenceTableDrafts, RefusesToGoOnBehindOneThatWasWrong) {
  Start();
  ASSERT_TRUE(Continue(3, {10}, {11, 12}).ok());
  EXPECT_THAT(std::string(Continue(5, {99, 50}, {}).status().message()),
              HasSubstr("behind a draft that is not the token at 4"));
  EXPECT_THAT(std::string(Continue(7, {11, 12, 13, 50}, {}).status().message()),
              HasSubstr("need 4 or up to so many more: 2"));
  EXPECT_THAT(std::string(Continue(3, {50}, {}).status().message()), HasSubstr("wrong position"));
  EXPECT_TRUE(Continue(5, {11, 50}, {}).ok());
}

TEST_F(SequenceTableDrafts, WritesAgainWhatWrongOnesLeftInTheNextBlock) {
  StepWork work;
  work.new_sequences.push_back({1, Ids(63, 100), 63, {}});
  work.chunks.push_back({1, 0, 63, {}, {5}, true});
  ASSERT_TRUE(table_.Apply(work).ok());
  ASSERT_TRUE(Continue(63, {10}, {11, 12}, {6}).ok());
  const auto batch = Continue(64, {50}, {51, 52, 53});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->positions, ElementsAre(64, 65, 66, 67));
  EXPECT_THAT((*batch)->capacities, ElementsAre(128));
}

TEST_F(SequenceTableDrafts, RefusesWhatCannotBeChecked) {
  Start();
  EXPECT_THAT(std::string(Continue(3, {10}, {1, 2, 3, 4}).status().message()),
              HasSubstr("too many drafts: 4"));
  EXPECT_THAT(std::string(Continue(3, {10}, {1000}).status().message()),
              HasSubstr("outside vocabulary: 1000"));
  StepWork work;
  ChunkWork chunk;
  chunk.sequence_id = 1;
  chunk.begin = 3;
  chunk.num_tokens = 1;
  chunk.appended_token_ids = {10};
  chunk.sample = true;
  chunk.draft_token_ids = {11};
  work.chunks = {chunk};
  EXPECT_FALSE(table_.Apply(work).ok());  // a guess, and nothing to guess from
  work.chunks[0].num_tokens = 2;
  work.chunks[0].sample = false;
  EXPECT_FALSE(table_.Apply(work).ok());
  work.chunks[0] = {1, 3, 1, {}, {}, true, 1};
  EXPECT_THAT(std::string(table_.Apply(work).status().message()), HasSubstr("fed back"));
  EXPECT_TRUE(Continue(3, {10}, {11}).ok());
}

class SequenceTableDraftsElsewhere : public SequenceTableDrafts {
 protected:
  SequenceTableDraftsElsewhere() : SequenceTableDrafts(/*draws=*/false) {}
};

TEST_F(SequenceTableDraftsElsewhere, ComputesThemAndLooksNoFurther) {
  Start();
  const auto batch = Continue(3, {10}, {11, 12});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT((*batch)->token_ids, ElementsAre(10, 11, 12));
  EXPECT_TRUE((*batch)->next_token_ids.empty());
  EXPECT_TRUE((*batch)->capacities.empty());
}

}  // namespace
}  // namespace baton::stage
