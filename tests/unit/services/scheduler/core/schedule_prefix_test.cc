// The prefix cache as a schedule uses it: who begins behind what, and when.
#include <utility>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

ScheduleOptions PrefixOptions() {
  ScheduleOptions options;
  options.max_model_len = 4096;
  options.vocab_size = 1024;
  options.eos_token_ids = {1};
  return options;
}

// Its prompt begins like that of every other of the same `text`.
SequenceRequest MakeAlike(SequenceId id, uint32_t prompt_tokens, uint32_t max_tokens = 16,
                          SequenceId text = 500) {
  SequenceRequest request = MakeRequest(text, prompt_tokens, max_tokens);
  request.id = id;
  return request;
}

class SchedulePrefix : public testing::Test {
 protected:
  void Open(ScheduleOptions options, uint32_t num_blocks = 100, bool expands_prompts = false) {
    schedule_.emplace(std::move(options));
    schedule_->OpenEpoch(num_blocks, expands_prompts);
  }
  void Add(SequenceRequest request) { ASSERT_TRUE(schedule_->Add(std::move(request)).ok()); }
  Batch Next() { return schedule_->NextBatch().value(); }
  void Complete(const Batch& batch, TokenId token = 7) {
    StepResult result{.step_id = batch.step_id, .tokens = {}, .faults = {}};
    for (const BatchRow& row : batch.rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, token});
    }
    ASSERT_TRUE(schedule_->Complete(result).ok());
  }
  Batch Run(TokenId token = 7) {
    Batch batch = Next();
    Complete(batch, token);
    return batch;
  }
  PrefixLookups lookups() const { return schedule_->counts().prefix_lookups; }

  std::optional<Schedule> schedule_;
};

// Of stages with one form of attention, and of those that expand prompts.
class SchedulePrefixOfEachForm : public SchedulePrefix, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Forms, SchedulePrefixOfEachForm, testing::Bool(),
                         [](const auto& form) { return form.param ? "Expanded" : "Absorbed"; });

TEST_P(SchedulePrefixOfEachForm, SharesAPromptInTheVeryStepThatComputesIt) {
  Open(PrefixOptions(), 100, GetParam());
  for (SequenceId id = 1; id <= 3; ++id) Add(MakeAlike(id, 130));
  const Batch batch = Next();
  ASSERT_EQ(batch.rows.size(), 3u);
  EXPECT_EQ(batch.rows[0].num_tokens, 130u);
  for (size_t i : {1, 2}) {
    EXPECT_TRUE(batch.rows[i].begins && batch.rows[i].sample);
    EXPECT_EQ(batch.rows[i].begin, 128u);
    EXPECT_EQ(batch.rows[i].num_tokens, 2u);
    ASSERT_EQ(batch.rows[i].new_blocks.size(), 3u);
    EXPECT_EQ(batch.rows[i].new_blocks[0], batch.rows[0].new_blocks[0]);
    EXPECT_EQ(batch.rows[i].new_blocks[1], batch.rows[0].new_blocks[1]);
    EXPECT_NE(batch.rows[i].new_blocks[2], batch.rows[0].new_blocks[2]);
  }
  EXPECT_EQ(schedule_->counts().num_used_blocks, 5u);
  EXPECT_EQ(lookups(), (PrefixLookups{390, 256}));
}

TEST_F(SchedulePrefix, ComputesTheLastBlockOfAPromptThatIsAllThere) {
  Open(PrefixOptions());
  Add(MakeAlike(1, 128));
  Run();
  Add(MakeAlike(2, 128));
  const Batch batch = Next();
  EXPECT_EQ(batch.rows.back().begin, 64u);
  EXPECT_EQ(batch.rows.back().num_tokens, 64u);
}

// The second turn's prompt is the first one's with the answer: a block with tokens of the answer
// was not expanded, and would be in the second turn.
TEST_P(SchedulePrefixOfEachForm, FindsTheAnswerOfAnEarlierTurnUnlessPromptsAreExpanded) {
  for (const uint32_t prompt_tokens : {126u, 128u, 150u}) {
    Open(PrefixOptions(), 100, GetParam());
    Add(MakeAlike(1, prompt_tokens, 80));
    while (schedule_->Find(1) != nullptr) Run(20);  // the last token has no KV
    SequenceRequest next = MakeAlike(2, prompt_tokens);
    next.prompt.insert(next.prompt.end(), 80, 20);
    next.prompt.push_back(30);
    Add(std::move(next));
    const uint32_t num_blocks = GetParam() ? prompt_tokens / 64 : (prompt_tokens + 79) / 64;
    EXPECT_EQ(Next().rows[0].begin, num_blocks * 64) << prompt_tokens;
  }
}

// A gateway submits a sequence again with the tokens that it got: they are no part of the prompt.
TEST_P(SchedulePrefixOfEachForm, AResumedSequenceFindsItsOwnAnswer) {
  Open(PrefixOptions(), 100, GetParam());
  Add(MakeAlike(1, 126, 3));
  for (TokenId token : {20, 21, 22}) Run(token);
  SequenceRequest resumed = MakeAlike(2, 126);
  resumed.resumed = {20, 21, 22, 23};
  Add(resumed);
  EXPECT_EQ(Run().rows[0].begin, 128u);
  ASSERT_TRUE(schedule_->Cancel(2));
  // Nor does it find what is a prompt's elsewhere, but at its own beginning.
  SequenceRequest whole = MakeAlike(3, 126);
  whole.prompt.insert(whole.prompt.end(), {30, 31, 32, 33});
  Add(whole);
  Run();
  resumed.id = 4;
  resumed.resumed = {30, 31, 32, 33};
  Add(resumed);
  EXPECT_EQ(Next().rows.back().begin, GetParam() ? 64u : 128u);
}

TEST_F(SchedulePrefix, NamesBlocksAnewWhereTheNextEpochHasAnotherForm) {
  Open(PrefixOptions());
  Add(MakeAlike(1, 64, 100));
  for (int i = 0; i < 70; ++i) Run(20);
  schedule_->CloseEpoch();
  schedule_->OpenEpoch(100, true);
  Run(20);
  SequenceRequest next = MakeAlike(2, 64);
  next.prompt.insert(next.prompt.end(), 70, 20);
  Add(next);
  EXPECT_EQ(Run(20).rows.back().begin, 64u) << "the prompt of the first, not its answer";
  schedule_->CloseEpoch();
  schedule_->OpenEpoch(100);
  next.id = 3;
  Add(next);
  const Batch batch = Next();
  ASSERT_EQ(batch.rows.size(), 3u);
  EXPECT_EQ(batch.rows[1].begin, 128u);
  EXPECT_EQ(batch.rows[2].begin, 128u);
}

TEST_F(SchedulePrefix, FindsWhatACancelledSequenceOrdered) {
  ScheduleOptions options = PrefixOptions();
  options.max_steps_in_flight = 2;
  Open(options);
  Add(MakeAlike(1, 130));
  const Batch first = Next();
  ASSERT_TRUE(schedule_->Cancel(1));
  Add(MakeAlike(2, 130));
  const Batch second = Next();
  EXPECT_EQ(second.rows[0].begin, 128u);
  Complete(first);
  EXPECT_EQ(schedule_->counts().num_used_blocks, 3u);
  Complete(second);
}

TEST_F(SchedulePrefix, ForgetsEverythingWithTheEpoch) {
  Open(PrefixOptions());
  Add(MakeAlike(1, 130));
  Run();
  schedule_->CloseEpoch();
  schedule_->OpenEpoch(100);
  const Batch again = Next();
  EXPECT_EQ(again.rows[0].begin, 0u);
  EXPECT_EQ(again.rows[0].num_tokens, 131u);
  EXPECT_EQ(lookups(), (PrefixLookups{130, 0}));  // it looked once
}

TEST_P(SchedulePrefixOfEachForm, APreemptedSequenceFindsItsOwnBlocksWithoutAHit) {
  Open(PrefixOptions(), 4, GetParam());
  Add(MakeRequest(1, 126, 3));
  Add(MakeRequest(2, 126, 100));
  for (int i = 0; i < 3; ++i) Run();  // both have two blocks; the first is done
  Add(MakeRequest(3, 200, 100));      // waits for blocks
  Run();                              // the second takes a third block
  SequenceRequest urgent = MakeRequest(4, 1, 100);
  urgent.priority = -1;
  Add(std::move(urgent));
  const PrefixLookups before = lookups();
  for (int i = 0; i < 70; ++i) Run();  // the urgent one takes the last block and needs another
  EXPECT_EQ(schedule_->counts().num_preemptions, 1u);
  ASSERT_TRUE(schedule_->Cancel(4));
  const Batch batch = Next();
  ASSERT_EQ(batch.rows.size(), 1u);
  EXPECT_EQ(batch.rows[0].id, 2u);
  EXPECT_TRUE(batch.rows[0].begins);
  EXPECT_EQ(batch.rows[0].begin, 128u);
  EXPECT_EQ(lookups().num_query_tokens, before.num_query_tokens + 1);
  EXPECT_EQ(lookups().num_hit_tokens, before.num_hit_tokens);
}

TEST_F(SchedulePrefix, ComputesAllOfAPromptWhoseLogprobsAreWanted) {
  Open(PrefixOptions());
  Add(MakeAlike(1, 130));
  Run();
  SequenceRequest request = MakeAlike(2, 130);
  request.reads_cache = false;
  Add(std::move(request));
  EXPECT_EQ(Next().rows.back().num_tokens, 130u);
  EXPECT_EQ(lookups(), (PrefixLookups{130, 0}));
}

TEST_F(SchedulePrefix, NobodyFindsTheBlocksOfAFaultySequence) {
  Open(PrefixOptions());
  Add(MakeAlike(1, 130));
  const Batch batch = Next();
  ASSERT_TRUE(
      schedule_
          ->Complete({.step_id = batch.step_id, .tokens = {}, .faults = {{1, "logits not finite"}}})
          .ok());
  Add(MakeAlike(2, 130));
  EXPECT_EQ(Next().rows[0].begin, 0u);
}

TEST_F(SchedulePrefix, SharesNothingWhereItIsOff) {
  ScheduleOptions options = PrefixOptions();
  options.prefix_caching = false;
  Open(options);
  Add(MakeAlike(1, 130));
  Run();
  Add(MakeAlike(2, 130));
  EXPECT_EQ(Next().rows.back().begin, 0u);
  EXPECT_EQ(lookups(), PrefixLookups());
}

TEST_F(SchedulePrefix, ASharedBlockCostsANewcomerNothing) {
  Open(PrefixOptions(), 4);
  Add(MakeAlike(1, 130));
  Add(MakeAlike(2, 130));
  EXPECT_EQ(Next().rows.size(), 2u);
  EXPECT_EQ(schedule_->counts().num_used_blocks, 4u);
}

TEST_F(SchedulePrefix, KeepsTheWatermarkFreeWhileOthersRun) {
  ScheduleOptions options = PrefixOptions();
  options.watermark = 0.25;
  Open(options, 8);
  Add(MakeRequest(1, 300, 2));  // five blocks; one more would leave two
  Add(MakeRequest(2, 65, 2));
  EXPECT_EQ(Run().rows.size(), 1u);
  Add(MakeRequest(3, 60, 2));  // one block is not too much, but it is not its turn
  EXPECT_EQ(Run().rows.size(), 1u);
  EXPECT_EQ(Run().rows.size(), 2u);  // the first is gone
}

TEST_F(SchedulePrefix, NothingIsReservedWhereNothingRuns) {
  ScheduleOptions options = PrefixOptions();
  options.watermark = 0.5;
  Open(options, 8);
  Add(MakeRequest(1, 500, 2));
  EXPECT_EQ(Run().rows.size(), 1u);
}

TEST_F(SchedulePrefix, CountsEvictionsOverEpochs) {
  Open(PrefixOptions(), 3);
  for (SequenceId id = 1; id <= 2; ++id) {
    Add(MakeRequest(id, 130, 1));
    Run();
  }
  EXPECT_EQ(schedule_->counts().num_evicted_blocks, 2u);
  EXPECT_EQ(schedule_->counts().num_used_blocks, 0u);
  schedule_->CloseEpoch();
  EXPECT_EQ(schedule_->counts().num_evicted_blocks, 2u);
}

}  // namespace
}  // namespace baton::scheduler
