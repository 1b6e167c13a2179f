// Steps that check guesses of the stages.
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

ScheduleOptions DraftingOptions(uint32_t num_speculative_tokens = 3) {
  ScheduleOptions options;
  options.lookahead_steps = 1;
  options.num_speculative_tokens = num_speculative_tokens;
  options.max_model_len = 4096;
  options.vocab_size = 1024;
  options.eos_token_ids = {kEos};
  return options;
}

// A schedule with one sequence, whose prompt of 4 tokens is computed; 10 was sampled, and `drafts`
// were guessed behind it.
class ScheduleDrafts : public testing::Test {
 protected:
  void Start(SequenceRequest request, std::vector<TokenId> drafts, uint32_t num_blocks = 100) {
    schedule_.OpenEpoch(num_blocks);
    const auto size = static_cast<uint32_t>(request.prompt.size());
    ASSERT_TRUE(schedule_.Add(std::move(request)).ok());
    const Batch batch = *schedule_.NextBatch();
    schedule_.ReachLastStage(batch.step_id);
    ASSERT_TRUE(schedule_
                    .Complete({.step_id = batch.step_id,
                               .tokens = {{1, size, 10}},
                               .drafts = {{1, std::move(drafts)}}})
                    .ok());
  }
  static std::vector<TokenId> TokensOf(const std::vector<SequenceNews>& news) {
    std::vector<TokenId> tokens;
    for (const SequenceNews& item : news) tokens.push_back(*item.token);
    return tokens;
  }

  Schedule schedule_{DraftingOptions()};
};

TEST_F(ScheduleDrafts, GoWithTheNewestToken) {
  Start(MakeRequest(1, 4), {11, 12, 13});
  const Batch batch = *schedule_.NextBatch();
  ASSERT_EQ(batch.rows.size(), 1u);
  EXPECT_EQ(batch.rows[0].begin, 4u);
  EXPECT_EQ(batch.rows[0].num_tokens, 4u);
  EXPECT_EQ(batch.rows[0].appended, std::vector<TokenId>{10});
  EXPECT_EQ(batch.rows[0].drafts, (std::vector<TokenId>{11, 12, 13}));
  EXPECT_EQ(batch.num_tokens(), 4u);
}

TEST_F(ScheduleDrafts, TakeThePlaceOfStepsOrderedAhead) {
  Start(MakeRequest(1, 4), {11});
  const Batch batch = *schedule_.NextBatch();
  schedule_.ReachLastStage(batch.step_id);
  EXPECT_FALSE(schedule_.NextBatch().has_value());
}

TEST_F(ScheduleDrafts, BecomeTokensWhereTheyWereRight) {
  Start(MakeRequest(1, 4), {11, 12, 13});
  const StepId step = schedule_.NextBatch()->step_id;
  const auto news = schedule_.Complete(
      {.step_id = step, .tokens = {{1, 5, 11}, {1, 6, 12}, {1, 7, 99}}, .drafts = {{1, {50}}}});
  ASSERT_TRUE(news.ok()) << news.status();
  EXPECT_EQ(TokensOf(*news), (std::vector<TokenId>{11, 12, 99}));
  EXPECT_EQ((*news)[2].position, 7u);
  const Batch next = *schedule_.NextBatch();
  EXPECT_EQ(next.rows[0].begin, 7u);  // 10, 11 and 12 are computed
  EXPECT_EQ(next.rows[0].appended, (std::vector<TokenId>{11, 12, 99}));
  EXPECT_EQ(next.rows[0].drafts, std::vector<TokenId>{50});
}

TEST_F(ScheduleDrafts, AreForgottenWhereTheyWereWrong) {
  Start(MakeRequest(1, 4), {11, 12, 13});
  const StepId step = schedule_.NextBatch()->step_id;
  ASSERT_TRUE(schedule_.Complete({.step_id = step, .tokens = {{1, 5, 77}}}).ok());
  const Batch next = *schedule_.NextBatch();
  EXPECT_EQ(next.rows[0].begin, 5u);
  EXPECT_EQ(next.rows[0].num_tokens, 1u);
  EXPECT_TRUE(next.rows[0].drafts.empty());
}

TEST_F(ScheduleDrafts, EndWithTheirSequence) {
  Start(MakeRequest(1, 4), {11, kEos, 13});
  const StepId step = schedule_.NextBatch()->step_id;
  const auto news = schedule_.Complete(
      {.step_id = step, .tokens = {{1, 5, 11}, {1, 6, kEos}, {1, 7, 13}}, .drafts = {{1, {50}}}});
  ASSERT_TRUE(news.ok()) << news.status();
  EXPECT_EQ(TokensOf(*news), (std::vector<TokenId>{11, kEos}));
  EXPECT_EQ(news->back().ending->cause, FinishCause::kStop);
  EXPECT_EQ(schedule_.counts().num_used_blocks, 0u);
}

TEST_F(ScheduleDrafts, StopAtMaxTokens) {
  Start(MakeRequest(1, 4, /*max_tokens=*/3), {11, 12, 13});
  const Batch batch = *schedule_.NextBatch();
  // Of three tokens one is there; a guess right, the one behind it is the last.
  EXPECT_EQ(batch.rows[0].drafts, std::vector<TokenId>{11});
  const auto news =
      schedule_.Complete({.step_id = batch.step_id, .tokens = {{1, 5, 11}, {1, 6, 12}}});
  ASSERT_TRUE(news.ok()) << news.status();
  EXPECT_EQ(news->back().ending->cause, FinishCause::kLength);
}

TEST_F(ScheduleDrafts, NeverTakeABlockThatIsNotFree) {
  Start(MakeRequest(1, 62, 100), {11, 12, 13}, /*num_blocks=*/1);
  const Batch batch = *schedule_.NextBatch();
  EXPECT_EQ(batch.rows[0].begin, 62u);
  EXPECT_TRUE(batch.rows[0].drafts.empty());  // the cache holds 64 tokens of it
  EXPECT_EQ(schedule_.counts().num_preemptions, 0u);
}

TEST_F(ScheduleDrafts, LeaveTheLastBlockToATokenThatIsKnown) {
  schedule_.OpenEpoch(4);
  for (const auto& [id, size] : {std::pair{1u, 62u}, {2u, 64u}, {3u, 4u}}) {
    ASSERT_TRUE(schedule_.Add(MakeRequest(id, size, 100)).ok());
  }
  const Batch first = *schedule_.NextBatch();
  ASSERT_EQ(first.rows.size(), 3u);
  schedule_.ReachLastStage(first.step_id);
  ASSERT_TRUE(schedule_
                  .Complete({.step_id = first.step_id,
                             .tokens = {{1, 62, 10}, {2, 64, 10}, {3, 4, 10}},
                             .drafts = {{1, {11, 12, 13}}}})
                  .ok());
  // Sequence 1 has room for one of its guesses; for the others it would have to take what 2 needs.
  const Batch batch = *schedule_.NextBatch();
  EXPECT_EQ(schedule_.counts().num_preemptions, 0u);
  ASSERT_EQ(batch.rows.size(), 3u);
  EXPECT_EQ(batch.rows[0].drafts, std::vector<TokenId>{11});
  EXPECT_EQ(batch.rows[1].new_blocks.size(), 1u);
}

TEST_F(ScheduleDrafts, LeaveTheStepToTokensThatAreKnown) {
  ScheduleOptions options = DraftingOptions();
  options.max_step_tokens = 8;
  Schedule schedule(options);
  schedule.OpenEpoch(kManyBlocks);
  StepResult result;
  for (SequenceId id = 1; id <= 8; ++id) {
    ASSERT_TRUE(schedule.Add(MakeRequest(id, 1)).ok());
    result.tokens.push_back({id, 1, 10});
    result.drafts.push_back({id, {11, 12}});
  }
  result.step_id = schedule.NextBatch()->step_id;
  schedule.ReachLastStage(result.step_id);
  ASSERT_TRUE(schedule.Complete(result).ok());
  const Batch batch = *schedule.NextBatch();
  EXPECT_EQ(batch.rows.size(), 8u);
  EXPECT_EQ(batch.num_tokens(), 8u);
}

TEST_F(ScheduleDrafts, ReserveTheBlocksThatTheyWriteTo) {
  Start(MakeRequest(1, 62, 100), {11, 12, 13});
  const Batch batch = *schedule_.NextBatch();
  EXPECT_EQ(batch.rows[0].drafts.size(), 3u);
  EXPECT_EQ(batch.rows[0].new_blocks.size(), 1u);
}

TEST_F(ScheduleDrafts, AreNoPartOfWhatALossLeaves) {
  Start(MakeRequest(1, 4), {11, 12});
  schedule_.CloseEpoch();
  schedule_.OpenEpoch(kManyBlocks);
  const Batch again = *schedule_.NextBatch();
  EXPECT_TRUE(again.rows[0].begins);
  EXPECT_EQ(again.rows[0].num_tokens, 5u);
  EXPECT_TRUE(again.rows[0].drafts.empty());
}

// 62 tokens of prompt, 10, and one draft, 11: block 0 is full with it. What stands there for
// somebody else who begins with `token` in its place?
class ScheduleDraftsInTheCache : public ScheduleDrafts {
 protected:
  uint32_t NumFound(const std::vector<StepResult::Sampled>& sampled, TokenId token) {
    Start(MakeRequest(1, 62, 100), {11});
    const Batch batch = *schedule_.NextBatch();
    EXPECT_EQ(batch.rows[0].drafts.size(), 1u);
    SequenceRequest other = MakeRequest(2, 0, 4);
    other.prompt = schedule_.Find(1)->tokens();
    other.prompt.insert(other.prompt.end(), {token, 500, 501});
    EXPECT_TRUE(schedule_.Add(other).ok());
    EXPECT_TRUE(schedule_.Complete({.step_id = batch.step_id, .tokens = sampled}).ok());
    const Batch next = *schedule_.NextBatch();
    EXPECT_EQ(next.rows.size(), 2u);
    EXPECT_EQ(next.rows[0].begin, sampled.back().position);
    EXPECT_EQ(next.rows[1].id, 2u);
    return next.rows[1].begin;
  }
};

TEST_F(ScheduleDraftsInTheCache, AreFoundWhereTheyWereRight) {
  EXPECT_EQ(NumFound({{1, 63, 11}, {1, 64, 20}}, 11), 64u);
}

TEST_F(ScheduleDraftsInTheCache, AreNotFoundWhereTheyWereWrong) {
  EXPECT_EQ(NumFound({{1, 63, 12}}, 11), 0u);
}

TEST_F(ScheduleDraftsInTheCache, AreWrittenOverByTheStepThatSharesTheBlock) {
  // Sequence 1 computes 12 at position 63 in the row before; until then the block holds 11.
  EXPECT_EQ(NumFound({{1, 63, 12}}, 12), 64u);
}

TEST_F(ScheduleDrafts, AreCounted) {
  Start(MakeRequest(1, 4), {11, 12, 13});
  const StepId step = schedule_.NextBatch()->step_id;
  ASSERT_TRUE(
      schedule_.Complete({.step_id = step, .tokens = {{1, 5, 11}, {1, 6, 12}, {1, 7, 9}}}).ok());
  const DraftCounts counts = schedule_.counts().drafts;
  EXPECT_EQ(counts.num_rows, 1u);
  EXPECT_EQ(counts.num_tokens, 3u);
  EXPECT_EQ(counts.num_accepted, 2u);
  EXPECT_EQ(counts.accepted_at, (std::vector<uint64_t>{1, 1, 0}));
}

TEST_F(ScheduleDrafts, RefuseAnAnswerThatDoesNotFollowFromThem) {
  Start(MakeRequest(1, 4), {11, 12});
  const StepId step = schedule_.NextBatch()->step_id;
  using Tokens = std::vector<StepResult::Sampled>;
  for (const Tokens& tokens :
       {Tokens{}, Tokens{{1, 5, 77}, {1, 6, 12}}, Tokens{{1, 5, 11}, {1, 7, 12}},
        Tokens{{1, 5, 11}, {1, 6, 12}, {1, 7, 13}, {1, 8, 14}}, Tokens{{1, 5, 11}, {2, 6, 12}},
        Tokens{{1, 5, 11}, {1, 6, 4000}}}) {
    EXPECT_TRUE(absl::IsDataLoss(schedule_.Complete({.step_id = step, .tokens = tokens}).status()));
  }
  const StepResult too_many{.step_id = step, .tokens = {{1, 5, 11}}, .drafts = {{1, {1, 2, 3, 4}}}};
  EXPECT_TRUE(absl::IsDataLoss(schedule_.Complete(too_many).status()));
  EXPECT_TRUE(schedule_.Complete({.step_id = step, .tokens = {{1, 5, 11}}}).ok());
}

}  // namespace
}  // namespace baton::scheduler
