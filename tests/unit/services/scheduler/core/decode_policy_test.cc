#include "services/scheduler/core/decode_policy.h"

#include <deque>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// Running sequences, prompt computed, one token generated; sequence i arrived as the i-th.
class DecodePolicy : public testing::Test {
 protected:
  Sequence* Add(StepId last_step, uint32_t prompt_tokens = 4) {
    Sequence* sequence = &sequences_.emplace_back(MakeRequest(sequences_.size() + 1, prompt_tokens),
                                                  sequences_.size());
    sequence->set_state(Sequence::State::kRunning);
    sequence->Advance(prompt_tokens, last_step);
    sequence->FinishStep();
    sequence->AppendToken(5);
    running_.insert(sequence);
    return sequence;
  }

  // How many of those that are not in flight a step takes.
  size_t Share(uint32_t num_steps, const StepCost& cost) {
    std::vector<Sequence*> candidates = DecodeCandidates(running_, {});
    return DecodeShare(&candidates, running_, num_steps, cost);
  }

  std::deque<Sequence> sequences_;
  RunningSet running_;
  const RunningSet none_;
};

TEST_F(DecodePolicy, WithoutPricesSharesByNumber) {
  const StepCost cost({});
  for (int i = 0; i < 5; ++i) Add(1);
  EXPECT_EQ(Share(1, cost), 5u);
  EXPECT_EQ(Share(2, cost), 3u);
  EXPECT_EQ(Share(3, cost), 2u);
  EXPECT_EQ(Share(8, cost), 1u);
}

TEST_F(DecodePolicy, SharesByPredictedTime) {
  // A position read costs a hundredth of a token: 900 tokens of context cost ten short sequences.
  const StepCost cost({.prior = {CostTerms{.values = {0, 0, 1, 0.01, 0, 0, 0}}}});
  Add(1, 900);
  for (int i = 0; i < 10; ++i) Add(1);
  EXPECT_EQ(Share(2, cost), 2u);
}

TEST_F(DecodePolicy, LeavesAShortOneRatherThanFillWithALongOne) {
  const StepCost cost({.prior = {CostTerms{.values = {0, 0, 1, 0.01, 0, 0, 0}}}});
  for (int i = 0; i < 2; ++i) Add(1, 900)->Advance(1, 2);
  Sequence* first = Add(1);
  Sequence* second = Add(1);
  Sequence* third = Add(1);
  Sequence* long_one = Add(1, 900);
  Sequence* other_long_one = Add(1, 900);
  std::vector<Sequence*> candidates = DecodeCandidates(running_, {});
  EXPECT_EQ(DecodeShare(&candidates, running_, 2, cost), 4u);
  EXPECT_EQ(candidates, (std::vector<Sequence*>{first, second, long_one, other_long_one, third}));
}

TEST_F(DecodePolicy, AStepThatIsALittleLongTakesAll) {
  const StepCost cost({});
  for (int i = 0; i < 99; ++i) Add(2)->Advance(1, 3);
  for (int i = 0; i < 102; ++i) Add(1);
  EXPECT_EQ(Share(2, cost), 102u);
  for (int i = 0; i < 10; ++i) Add(1);
  EXPECT_EQ(Share(2, cost), 106u);
}

TEST_F(DecodePolicy, PromptsThatAreNotAtTheirEndHaveNoShare) {
  const StepCost cost({});
  for (int i = 0; i < 4; ++i) Add(1);
  Sequence* prompt = &sequences_.emplace_back(MakeRequest(99, 40), 99);
  prompt->set_state(Sequence::State::kRunning);
  prompt->Advance(8, 2);
  running_.insert(prompt);
  EXPECT_EQ(Share(2, cost), 2u);
  prompt->Advance(32, 3);  // decodes after this step
  EXPECT_EQ(Share(2, cost), 3u);
}

TEST_F(DecodePolicy, TriesFirstThoseThatWaitedLongest) {
  Sequence* newer = Add(9);
  Sequence* older = Add(3);
  EXPECT_EQ(DecodeCandidates(running_, {}), (std::vector<Sequence*>{older, newer}));
}

TEST_F(DecodePolicy, SkipsWhatIsInFlight) {
  Add(1)->Advance(1, 2);
  Sequence* free = Add(1);
  EXPECT_EQ(DecodeCandidates(running_, {}), (std::vector<Sequence*>{free}));
}

TEST_F(DecodePolicy, TakesWhatIsBeingSampledIfThatMayBeFedBack) {
  Sequence* sampled = Add(1);
  sampled->Advance(1, 2);
  Add(1)->Advance(1, 3);
  EXPECT_EQ(DecodeCandidates(running_, {.last_step = 2, .max_len = 100}),
            (std::vector<Sequence*>{sampled}));
  EXPECT_TRUE(DecodeCandidates(running_, {.last_step = 1, .max_len = 100}).empty());
  // The token that is sampled would be its last.
  EXPECT_TRUE(DecodeCandidates(running_, {.last_step = 2, .max_len = 6}).empty());
}

TEST_F(DecodePolicy, VictimIsTheLastServedThatIsNotInFlight) {
  Sequence* first = Add(1);
  Sequence* second = Add(1);
  Sequence* third = Add(1);
  EXPECT_EQ(PickVictim({running_, none_, none_}, *first), third);
  third->Advance(1, 2);
  EXPECT_EQ(PickVictim({running_, none_, none_}, *first), second);
  EXPECT_EQ(PickVictim({running_, none_, none_}, *second), nullptr);
  EXPECT_EQ(PickVictim({running_, none_, none_}, *third), nullptr);
}

TEST_F(DecodePolicy, WhatIsSuspendedOrPausedGivesWayFirst) {
  Sequence* suspended = Add(1);
  Sequence* paused = Add(1);
  Sequence* needy = Add(1);
  Sequence* last = Add(1);
  running_.erase(suspended);
  running_.erase(paused);
  const RunningSet paused_set{paused};
  const RunningSet suspended_set{suspended};
  const Holders holders{running_, paused_set, suspended_set};
  EXPECT_EQ(PickVictim(holders, *needy), suspended);
  suspended->Advance(1, 2);
  EXPECT_EQ(PickVictim(holders, *needy), paused);
  paused->Advance(1, 2);
  EXPECT_EQ(PickVictim(holders, *needy), last);
}

}  // namespace
}  // namespace baton::scheduler
