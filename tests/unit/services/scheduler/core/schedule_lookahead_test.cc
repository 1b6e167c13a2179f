// Steps that are ordered before the tokens that they compute are known.
#include <map>
#include <random>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// A schedule over `num_stages` stages, one step beyond them, and what is in flight.
class Group {
 public:
  explicit Group(uint32_t num_stages, uint32_t num_blocks = kManyBlocks, uint32_t lookahead = 1)
      : num_stages_(num_stages), schedule_(MakeOptions(num_stages, lookahead)) {
    Open(num_blocks);
  }

  Schedule& schedule() { return schedule_; }
  void Open(uint32_t num_blocks = kManyBlocks) {
    flying_.clear();
    schedule_.OpenEpoch(num_blocks);
  }
  void Add(SequenceRequest request) { ASSERT_TRUE(schedule_.Add(std::move(request)).ok()); }

  // The next batch, on its way; nullopt if none is due.
  std::optional<Batch> Order() {
    std::optional<Batch> batch = schedule_.NextBatch();
    if (!batch.has_value()) return std::nullopt;
    flying_.push_back(*batch);
    if (num_stages_ == 1) Reach(batch->step_id);
    return batch;
  }
  void Reach(StepId step) { schedule_.ReachLastStage(step); }
  // Ends the oldest step, every row that samples giving `token`.
  std::vector<SequenceNews> Finish(TokenId token = 7) {
    const Batch batch = flying_.front();
    flying_.pop_front();
    StepResult result{.step_id = batch.step_id};
    for (const BatchRow& row : batch.rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, token});
    }
    return schedule_.Complete(result).value();
  }

 private:
  static ScheduleOptions MakeOptions(uint32_t num_stages, uint32_t lookahead) {
    ScheduleOptions options;
    options.max_steps_in_flight = num_stages;
    options.lookahead_steps = lookahead;
    options.max_model_len = 4096;
    options.vocab_size = 1024;
    options.eos_token_ids = {kEos};
    return options;
  }

  const uint32_t num_stages_;
  std::deque<Batch> flying_;
  Schedule schedule_;
};

TEST(ScheduleLookahead, OrdersTheNextDecodeWhileItsTokenIsSampled) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order()->rows[0].sample);
  const Batch ahead = *group.Order();
  ASSERT_EQ(ahead.rows.size(), 1u);
  EXPECT_EQ(ahead.rows[0].begin, 4u);
  EXPECT_EQ(ahead.rows[0].num_tokens, 1u);
  EXPECT_EQ(ahead.rows[0].feedback_step, 1u);
  EXPECT_TRUE(ahead.rows[0].sample);
  EXPECT_TRUE(ahead.rows[0].appended.empty());
  EXPECT_FALSE(group.Order().has_value());
  EXPECT_EQ(*group.Finish(42)[0].token, 42u);
  const Batch next = *group.Order();
  EXPECT_EQ(next.rows[0].begin, 5u);
  EXPECT_EQ(next.rows[0].feedback_step, 2u);
  EXPECT_TRUE(next.rows[0].appended.empty());
  EXPECT_EQ(*group.Finish(43)[0].token, 43u);
  EXPECT_EQ(group.schedule().Find(1)->tokens().back(), 43u);
}

TEST(ScheduleLookahead, IsOffAtZero) {
  Group group(1, kManyBlocks, 0);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order().has_value());
  EXPECT_FALSE(group.Order().has_value());
  group.Finish(42);
  const Batch next = *group.Order();
  EXPECT_EQ(next.rows[0].feedback_step, 0u);
  EXPECT_EQ(next.rows[0].appended, std::vector<TokenId>{42});
}

TEST(ScheduleLookahead, WaitsUntilTheSamplingStepHasReachedTheLastStage) {
  Group group(2);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order().has_value());
  EXPECT_FALSE(group.Order().has_value());
  // Until then the first stage is free for a newcomer.
  group.Add(MakeRequest(2, 4));
  EXPECT_TRUE(group.Order()->rows[0].begins);
  group.Reach(1);
  const Batch ahead = *group.Order();
  ASSERT_EQ(ahead.rows.size(), 1u);
  EXPECT_EQ(ahead.rows[0].id, 1u);
  EXPECT_EQ(ahead.rows[0].feedback_step, 1u);
}

TEST(ScheduleLookahead, KeepsSequencesInTheirMicroBatches) {
  Group group(2);
  for (SequenceId id = 1; id <= 4; ++id) group.Add(MakeRequest(id, 4, 100));
  std::map<SequenceId, StepId> last;
  for (const Batch& batch : {*group.Order(), *group.Order()}) {
    ASSERT_EQ(batch.rows.size(), 2u);
    for (const BatchRow& row : batch.rows) last[row.id] = batch.step_id;
  }
  for (StepId step = 1; step <= 20; ++step) {
    group.Reach(step);
    const std::optional<Batch> batch = group.Order();
    ASSERT_TRUE(batch.has_value());
    ASSERT_EQ(batch->rows.size(), 2u);
    for (const BatchRow& row : batch->rows) {
      EXPECT_EQ(last[row.id], batch->step_id - 2);
      EXPECT_EQ(row.feedback_step, batch->step_id - 2);
      last[row.id] = batch->step_id;
    }
    EXPECT_FALSE(group.Order().has_value());
    group.Finish();
  }
}

TEST(ScheduleLookahead, TakesANewcomerIntoTheStepAhead) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order().has_value());
  group.Add(MakeRequest(2, 9));
  const Batch ahead = *group.Order();
  ASSERT_EQ(ahead.rows.size(), 2u);
  EXPECT_EQ(ahead.rows[0].feedback_step, 1u);
  EXPECT_TRUE(ahead.rows[1].begins);
  EXPECT_EQ(ahead.rows[1].feedback_step, 0u);
}

TEST(ScheduleLookahead, NeverOrdersPastMaxTokens) {
  Group group(1);
  group.Add(MakeRequest(1, 4, 3));
  int num_rows = 0;
  int num_tokens = 0;
  while (true) {
    while (const std::optional<Batch> batch = group.Order()) {
      num_rows += static_cast<int>(batch->rows.size());
    }
    if (group.schedule().idle()) break;
    for (const SequenceNews& news : group.Finish()) num_tokens += news.token.has_value() ? 1 : 0;
  }
  EXPECT_EQ(num_rows, 3);
  EXPECT_EQ(num_tokens, 3);
}

TEST(ScheduleLookahead, NeverOrdersPastTheCache) {
  Group group(1, 1);  // one block: 64 tokens
  group.Add(MakeRequest(1, 62, 100));
  ASSERT_TRUE(group.Order().has_value());
  ASSERT_EQ(group.Order()->rows[0].begin, 62u);
  EXPECT_FALSE(group.Finish()[0].ending.has_value());
  EXPECT_FALSE(group.Order().has_value());
  EXPECT_EQ(group.Finish()[0].ending->cause, FinishCause::kLength);
}

TEST(ScheduleLookahead, DiscardsTheRowBehindAnEndOfSequence) {
  Group group(1);
  group.Add(MakeRequest(1, 64));
  ASSERT_TRUE(group.Order().has_value());
  ASSERT_TRUE(group.Order().has_value());
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 2u);
  const auto news = group.Finish(kEos);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kStop);
  EXPECT_EQ(group.schedule().Find(1), nullptr);
  // The step ahead still writes its blocks.
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 2u);
  EXPECT_FALSE(group.Order().has_value());
  EXPECT_TRUE(group.Finish(9).empty());
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 0u);
  EXPECT_EQ(group.Order()->finished, std::vector<SequenceId>{1});
}

TEST(ScheduleLookahead, EndsACancelledSequenceWhenBothItsStepsAreDone) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order().has_value());
  ASSERT_TRUE(group.Order().has_value());
  EXPECT_TRUE(group.schedule().Cancel(1));
  EXPECT_TRUE(group.Finish().empty());
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 1u);
  EXPECT_TRUE(group.Finish().empty());
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 0u);
}

TEST(ScheduleLookahead, EndsASequenceThatFailedWithAStepAhead) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  const Batch first = *group.schedule().NextBatch();
  group.Reach(1);
  const Batch ahead = *group.schedule().NextBatch();
  StepResult failed{.step_id = first.step_id, .faults = {{1, "logits not finite"}}};
  EXPECT_EQ(group.schedule().Complete(failed).value()[0].ending->cause, FinishCause::kFailed);
  failed.step_id = ahead.step_id;
  EXPECT_TRUE(group.schedule().Complete(failed).value().empty());
  EXPECT_TRUE(group.schedule().LiveIds().empty());
}

TEST(ScheduleLookahead, ChecksThePositionOfEachSampleInFlight) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  const Batch first = *group.schedule().NextBatch();
  group.Reach(1);
  ASSERT_TRUE(group.schedule().NextBatch().has_value());
  StepResult result{.step_id = first.step_id, .tokens = {{1, 5, 7}}};
  EXPECT_TRUE(absl::IsDataLoss(group.schedule().Complete(result).status()));
  result.tokens[0].position = 4;
  EXPECT_TRUE(group.schedule().Complete(result).ok());
  result.step_id = 2;
  EXPECT_TRUE(absl::IsDataLoss(group.schedule().Complete(result).status()));
  result.tokens[0].position = 5;
  EXPECT_TRUE(group.schedule().Complete(result).ok());
}

TEST(ScheduleLookahead, KeepsKnownTokensOverALossWithATokenPending) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  ASSERT_TRUE(group.Order().has_value());
  ASSERT_TRUE(group.Order().has_value());
  group.Finish(42);
  group.schedule().CloseEpoch();
  group.Open();
  const Batch again = *group.Order();
  EXPECT_TRUE(again.rows[0].begins);
  EXPECT_EQ(again.rows[0].num_tokens, 5u);
  EXPECT_EQ(again.rows[0].feedback_step, 0u);
  EXPECT_EQ(group.Order()->rows[0].feedback_step, again.step_id);
  EXPECT_EQ(*group.Finish(43)[0].token, 43u);
  EXPECT_EQ(group.schedule().Find(1)->num_tokens(), 6u);
}

TEST(ScheduleLookahead, RunsASuspectOneStepAtATime) {
  Group group(1);
  group.Add(MakeRequest(1, 4));
  group.Add(MakeRequest(2, 4));
  for (int loss = 0; loss < 2; ++loss) {
    ASSERT_EQ(group.Order()->rows.size(), 2u);
    EXPECT_TRUE(group.schedule().CloseEpoch().empty());
    group.Open();
  }
  for (int suspect = 0; suspect < 2; ++suspect) {
    ASSERT_EQ(group.Order()->rows.size(), 1u);
    EXPECT_FALSE(group.Order().has_value());
    group.Finish();
  }
  // Both have a token now: neither is a suspect.
  ASSERT_TRUE(group.Order().has_value());
  EXPECT_TRUE(group.Order().has_value());
}

TEST(ScheduleLookahead, LetsTheOneServedFirstGoOnWhenBlocksRunOut) {
  Group group(1, 4);
  group.Add(MakeRequest(1, 126, 100));
  group.Add(MakeRequest(2, 126, 100));
  for (int step = 0; step < 10 && group.schedule().counts().num_preemptions == 0; ++step) {
    while (group.Order().has_value()) {
    }
    group.Finish();
  }
  EXPECT_EQ(group.schedule().counts().num_preemptions, 1u);
  EXPECT_EQ(group.schedule().Find(1)->state(), Sequence::State::kRunning);
  EXPECT_EQ(group.schedule().Find(2)->state(), Sequence::State::kWaiting);
}

// Tokens are a function of the sequence and the position, as the stages' are.
TokenId TokenAt(SequenceId id, uint32_t position) {
  const auto hash = static_cast<TokenId>((id * 2654435761u + position * 40503u) >> 7);
  return hash % 50 == 0 ? kEos : 2 + hash % 1000;
}

// All tokens of all sequences, run in a random order of events that `seed` gives.
std::map<SequenceId, std::vector<TokenId>> RunAll(uint32_t num_stages, uint32_t lookahead,
                                                  uint32_t seed) {
  Group group(num_stages, 24, lookahead);
  std::mt19937 random(seed);
  std::map<SequenceId, std::vector<TokenId>> answers;
  std::deque<Batch> flying;
  StepId reached = 0;
  SequenceId next_id = 1;
  while (next_id <= 40 || !group.schedule().idle()) {
    if (next_id <= 40 && random() % 3 == 0) {
      const auto id = next_id++;
      EXPECT_TRUE(group.schedule().Add(MakeRequest(id, 1 + id * 37 % 200, 1 + id * 13 % 90)).ok());
    }
    while (auto batch = group.schedule().NextBatch()) {
      flying.push_back(*std::move(batch));
      if (num_stages == 1) group.Reach(reached = flying.back().step_id);
    }
    if (flying.empty()) continue;
    if (reached < flying.back().step_id && random() % 2 == 0) group.Reach(++reached);
    if (random() % 2 == 0) continue;
    const Batch batch = std::move(flying.front());
    flying.pop_front();
    group.Reach(reached = std::max(reached, batch.step_id));
    StepResult result{.step_id = batch.step_id};
    for (const BatchRow& row : batch.rows) {
      const uint32_t position = row.begin + row.num_tokens;
      EXPECT_TRUE(row.feedback_step == 0 || row.feedback_step < batch.step_id);
      if (row.sample) result.tokens.push_back({row.id, position, TokenAt(row.id, position)});
    }
    const std::vector<SequenceNews> all_news = group.schedule().Complete(result).value();
    for (const SequenceNews& news : all_news) {
      if (news.token.has_value()) answers[news.id].push_back(*news.token);
    }
  }
  EXPECT_EQ(group.schedule().counts().num_used_blocks, 0u);
  EXPECT_TRUE(group.schedule().LiveIds().empty());
  return answers;
}

TEST(ScheduleLookahead, GivesTheSameTokensOnAndOffOverAnyNumberOfStages) {
  const auto expected = RunAll(1, 0, 1);
  EXPECT_EQ(expected.size(), 40u);
  for (uint32_t num_stages : {1u, 2u, 3u}) {
    for (uint32_t lookahead : {0u, 1u, 2u}) {
      for (uint32_t seed : {2u, 3u}) {
        EXPECT_EQ(RunAll(num_stages, lookahead, seed), expected)
            << num_stages << " stages, lookahead " << lookahead << ", seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace baton::scheduler
