// Sequences whose callers do not take their tokens: nothing is computed of them meanwhile, and they
// are in nobody's way.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kBlocks = 24;

ScheduleOptions SuspensionOptions(uint32_t max_running, uint32_t lookahead = 0) {
  ScheduleOptions options = PlaceOptions(max_running, lookahead);
  options.prefix_caching = false;
  return options;
}

TEST(ScheduleSuspension, NoFurtherStepHasTheSequence) {
  for (const uint32_t lookahead : {0u, 1u}) {
    Place place(SuspensionOptions(4, lookahead));
    place.Add(1, "a", 8, 100);
    place.Add(2, "a", 8, 100);
    for (int step = 0; step < 5; ++step) place.Step();
    place.schedule.Suspend(1);
    EXPECT_EQ(place.schedule.counts().num_suspended, 1u);
    EXPECT_EQ(place.schedule.counts().num_running, 1u);
    for (int step = 0; step < 10; ++step) {
      const std::optional<Batch> batch = place.Step();
      EXPECT_FALSE(Place::RowOf(batch, 1).has_value());
      EXPECT_TRUE(Place::RowOf(batch, 2).has_value());
    }
    const uint32_t num_generated = place.schedule.Find(1)->num_generated();
    place.schedule.Continue(1);
    EXPECT_EQ(place.schedule.counts().num_suspended, 0u);
    const std::optional<BatchRow> row = Place::RowOf(place.Step(), 1);
    ASSERT_TRUE(row.has_value());
    EXPECT_FALSE(row->begins) << "it kept its blocks";
    EXPECT_EQ(row->begin, 8 + num_generated - 1);
    while (place.ended.size() < 2) place.Step();
    EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
    EXPECT_EQ(place.schedule.counts().num_suspensions, 1u);
  }
}

TEST(ScheduleSuspension, TokensInFlightStillComeAndMayEndIt) {
  Place place(SuspensionOptions(4, 1));
  place.Add(1, "a", 8, 2);
  place.schedule.ReachLastStage(place.schedule.NextBatch()->step_id);
  const std::optional<Batch> ahead = place.schedule.NextBatch();
  ASSERT_TRUE(Place::RowOf(ahead, 1).has_value());
  const auto first = place.schedule.Complete({.step_id = 1, .tokens = {{1, 8, 7}}});
  ASSERT_TRUE(first.ok()) << first.status();
  place.schedule.Suspend(1);
  const auto second = place.schedule.Complete({.step_id = 2, .tokens = {{1, 9, 7}}});
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ(second->size(), 1u);
  EXPECT_TRUE(second->front().ending.has_value());
  EXPECT_EQ(place.schedule.counts().num_suspended, 0u);
  EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(ScheduleSuspension, ItsPlaceIsFree) {
  Place place(SuspensionOptions(1));
  place.Add(1, "a", 8, 100);
  place.Add(2, "a", 8, 4);
  place.Step();
  place.schedule.Suspend(1);
  EXPECT_TRUE(Place::RowOf(place.Step(), 2).has_value());
  place.schedule.Continue(1);
  EXPECT_FALSE(Place::RowOf(place.Step(), 1).has_value()) << "there is one place";
  while (place.ended.empty()) place.Step();
  EXPECT_TRUE(Place::RowOf(place.Step(), 1).has_value());
}

TEST(ScheduleSuspension, ItsBlocksAreForWhoNeedsThem) {
  Place place(SuspensionOptions(4), kBlocks);
  place.Add(1, "a", 640, 100);
  place.Add(2, "a", 600, 100);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  place.schedule.Suspend(2);
  // Of a newcomer: the latest gives way, and no more than is needed.
  place.Add(3, "a", 640, 3);
  EXPECT_TRUE(Place::RowOf(place.Step(), 3).has_value());
  EXPECT_EQ(place.schedule.counts().num_preemptions, 1u);
  EXPECT_EQ(place.schedule.counts().num_suspended, 2u);
  EXPECT_EQ(place.schedule.counts().num_waiting, 0u) << "it asks for none while it is suspended";
  while (place.schedule.Find(3) != nullptr) place.Step();
  place.schedule.Continue(1);
  const std::optional<BatchRow> first = Place::RowOf(place.Step(), 1);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(first->begins);
  place.schedule.Continue(2);
  const std::optional<BatchRow> second = Place::RowOf(place.Step(), 2);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(second->begins) << "it is computed anew";
  while (place.ended.size() < 3) place.Step();
  EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(ScheduleSuspension, KeepsItsBlocksIfTheyAreNotEnough) {
  Place place(SuspensionOptions(4), kBlocks);
  place.Add(1, "a", 640, 100);
  place.Add(2, "a", 300, 100);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(2);
  place.Add(3, "a", 1000, 3);  // 16 blocks, beside 11 that are in use
  for (int step = 0; step < 5; ++step) place.Step();
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u);
}

// What it shares with a newcomer is nothing that the newcomer gains.
TEST(ScheduleSuspension, KeepsItsBlocksIfTheyAreNotEnoughBesidesThoseThatAreShared) {
  Place place(PlaceOptions(4, 0), kBlocks);
  place.Add(1, "a", 600, 1000);
  place.Add(2, "a", 640, 100);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(2);
  SequenceRequest request = MakeRequest(2, 640, 3);
  request.id = 3;
  request.fairness_key = "a";
  request.prompt.insert(request.prompt.end(), 360, 5);
  ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());  // 6 blocks besides 10 of those
  for (int step = 0; step < 5; ++step) place.Step();
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u);
}

TEST(ScheduleSuspension, ItsBlocksAreForOneThatIsOverdueAndForOthersClaims) {
  Place place(SuspensionOptions(4), kBlocks);
  place.Add(1, "a", 640, 100);
  place.Add(2, "a", 640, 100);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  place.schedule.Suspend(2);
  place.Add(3, "b", 700, 4);
  place.now += 11 * kSecond;
  place.Add(4, "c", 8, 4);
  const std::optional<Batch> batch = place.Step();
  EXPECT_TRUE(Place::RowOf(batch, 3).has_value());
  EXPECT_TRUE(Place::RowOf(batch, 4).has_value());
}

TEST(ScheduleSuspension, ItsBlocksAreForOneThatGrows) {
  ScheduleOptions options = SuspensionOptions(4);
  options.block_tokens = 8;
  Place place(options, 8);
  place.Add(1, "a", 8, 50);
  place.Add(2, "a", 30, 30);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(2);
  while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
  EXPECT_EQ(place.schedule.counts().num_preemptions, 1u);
  EXPECT_EQ(place.ended, std::vector<SequenceId>{1});
  place.schedule.Continue(2);
  while (place.ended.size() < 2) ASSERT_TRUE(place.Step().has_value());
}

TEST(ScheduleSuspension, AClaimOfAnotherKeyIsMet) {
  Place place(SuspensionOptions(2), kBlocks);
  place.Add(1, "a", 640, 100);
  place.Add(2, "a", 640, 100);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  place.Add(3, "b", 700, 4);
  EXPECT_TRUE(Place::RowOf(place.Step(), 3).has_value());
  EXPECT_EQ(place.schedule.Find(2)->state(), Sequence::State::kRunning);
}

TEST(ScheduleSuspension, ALostStageCostsNoToken) {
  Place place(SuspensionOptions(4));
  place.Add(1, "a", 8, 6);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  const std::vector<TokenId> tokens = place.schedule.Find(1)->tokens();
  ASSERT_TRUE(place.schedule.CloseEpoch().empty());
  EXPECT_EQ(place.schedule.counts().num_suspended, 1u);
  place.schedule.OpenEpoch(kBlocks);
  EXPECT_FALSE(place.schedule.NextBatch().has_value());
  place.schedule.Continue(1);
  EXPECT_EQ(place.schedule.Find(1)->tokens(), tokens);
  const std::optional<BatchRow> row = Place::RowOf(place.Step(), 1);
  ASSERT_TRUE(row.has_value());
  EXPECT_TRUE(row->begins);
  EXPECT_EQ(row->num_tokens, tokens.size());
  while (place.ended.empty()) place.Step();
}

TEST(ScheduleSuspension, WithoutAGroupItWaitsForNone) {
  Place place(SuspensionOptions(4));
  place.Add(1, "a", 8, 6);
  for (int step = 0; step < 3; ++step) place.Step();
  ASSERT_TRUE(place.schedule.CloseEpoch().empty());
  place.schedule.Suspend(1);  // its last tokens were handed over late
  EXPECT_EQ(place.schedule.counts().num_waiting, 0u);
  place.schedule.OpenEpoch(kBlocks);
  EXPECT_FALSE(place.schedule.NextBatch().has_value());
  place.schedule.Continue(1);
  EXPECT_TRUE(Place::RowOf(place.Step(), 1).has_value());
}

TEST(ScheduleSuspension, MayBeCancelledOrExpireWithOrWithoutItsBlocks) {
  for (const bool loses_blocks : {false, true}) {
    for (const bool expires : {false, true}) {
      Place place(SuspensionOptions(4), kBlocks);
      SequenceRequest request = MakeRequest(1, 900, 100);
      request.fairness_key = "a";
      request.deadline = kSecond;
      ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
      for (int step = 0; step < 3; ++step) place.Step();
      place.schedule.Suspend(1);
      place.Add(2, "a", loses_blocks ? 900 : 8, 2);
      while (place.schedule.Find(2) != nullptr) place.Step();
      EXPECT_EQ(place.schedule.counts().num_preemptions, loses_blocks ? 1u : 0u);
      if (expires) {
        EXPECT_EQ(place.schedule.Expire(kSecond).size(), 1u);
      } else {
        EXPECT_TRUE(place.schedule.Cancel(1));
      }
      place.Step();
      EXPECT_EQ(place.schedule.counts().num_suspended, 0u);
      EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
      EXPECT_TRUE(place.schedule.idle());
      place.schedule.Continue(1);  // too late
      EXPECT_FALSE(place.Step().has_value());
    }
  }
}

// Steps of 0.6 s if they are full, short ones of 5 ms; somebody's request has come and gone.
ScheduleOptions LongStepOptions(uint32_t max_running) {
  ScheduleOptions options = SuspensionOptions(max_running);
  options.step_cost = {.prior = {CostTerms{.values = {1e-3, 0, 0.3e-3, 1e-9, 1e-9, 0, 0.5e-3}}}};
  return options;
}
void LetANewcomerComeAndGo(Place* place) {
  place->Add(51, "other", 32, 4000);
  place->Step();
  place->Add(52, "newcomer", 32, 1);
  for (int step = 0; step < 10; ++step) place->Step();
}

// Two prompts of one key are no flood while nobody else wants anything.
TEST(ScheduleSuspension, AKeyWantsNothingWhileAllOfItIsSuspended) {
  Place place(LongStepOptions(16));
  LetANewcomerComeAndGo(&place);
  place.Add(1, "a", 1500, 4000);
  place.Add(2, "a", 1500, 4000);
  for (int step = 0; step < 4; ++step) place.Step();
  EXPECT_GT(place.schedule.counts().short_step_seconds, 0);
  place.schedule.Suspend(51);
  place.Step();
  EXPECT_EQ(place.schedule.counts().short_step_seconds, 0);
  place.schedule.Continue(51);
  place.Step();
  EXPECT_GT(place.schedule.counts().short_step_seconds, 0);
}

TEST(ScheduleSuspension, WhatIsSuspendedFloodsNothing) {
  Place place(LongStepOptions(8));
  LetANewcomerComeAndGo(&place);
  for (SequenceId id = 1; id <= 5; ++id) place.Add(id, "a", 32, 4000);
  for (int step = 0; step < 60; ++step) place.Step();
  EXPECT_GT(place.schedule.counts().short_step_seconds, 0);
  for (SequenceId id = 2; id <= 5; ++id) place.schedule.Suspend(id);
  place.Step();
  EXPECT_EQ(place.schedule.counts().short_step_seconds, 0);
  for (SequenceId id = 1; id <= 5; ++id) place.schedule.Cancel(id);
  place.schedule.Cancel(51);
  place.Step();
  EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(ScheduleSuspension, GuessesAreOfUseWhenItGoesOn) {
  ScheduleOptions options = SuspensionOptions(4);
  options.num_speculative_tokens = 2;
  Place place(options);
  place.Add(1, "a", 8, 50);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  EXPECT_FALSE(place.Step().has_value());
  place.schedule.Continue(1);
  const std::optional<BatchRow> row = Place::RowOf(place.Step(), 1);
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->drafts.size(), 2u);
}

TEST(ScheduleSuspension, StepsBehindATimeWithoutWorkSaySo) {
  Place place(PlaceOptions(2, 0));
  place.Add(1, "a", 8, 1000);
  EXPECT_FALSE(place.Step()->work_waited) << "the first";
  EXPECT_TRUE(place.Step()->work_waited);
  place.schedule.Suspend(1);
  place.schedule.Continue(1);
  EXPECT_FALSE(place.Step()->work_waited) << "the stages still know it";
  EXPECT_TRUE(place.Step()->work_waited);
  place.Add(2, "a", 8, 1000);
  EXPECT_TRUE(place.Step()->work_waited);
  place.schedule.Suspend(1);
  EXPECT_TRUE(place.Step()->work_waited) << "another went on";
  EXPECT_TRUE(place.schedule.Cancel(2));
  place.Step();
  place.Add(3, "a", 8, 4);
  EXPECT_FALSE(place.Step()->work_waited) << "the last step only told the stages to forget one";
}

// The first stage is done, the last one is at it yet: the first one's time until somebody comes is
// no gap.
TEST(ScheduleSuspension, NothingWaitsBesideAStepThatNobodyWants) {
  ScheduleOptions options = PlaceOptions(2, 0);
  options.max_steps_in_flight = 2;
  Schedule schedule(options);
  schedule.OpenEpoch(kBlocks);
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 8, 100)).ok());
  EXPECT_FALSE(schedule.NextBatch()->work_waited);
  EXPECT_TRUE(schedule.Cancel(1));
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 8, 100), kSecond).ok());
  EXPECT_FALSE(schedule.NextBatch(kSecond)->work_waited);
}

// Sequence 1, of class 5, was suspended while 2 had the one place, and may go on when 2 is done.
class OneOfAWorseClass : public testing::Test {
 protected:
  explicit OneOfAWorseClass(uint32_t prompt_tokens = 8, uint32_t num_blocks = 100)
      : place_(PlaceOptions(1, 0), num_blocks) {
    place_.Add(1, "a", prompt_tokens, 1000, /*weight=*/1, /*priority=*/5);
    for (int step = 0; step < 3; ++step) place_.Step();
    place_.schedule.Suspend(1);
    place_.Add(2, "a", 8, 4, /*weight=*/1, /*priority=*/5);
    place_.Step();
    place_.schedule.Continue(1);
  }
  bool HasRow(SequenceId id) { return Place::RowOf(place_.Step(), id).has_value(); }

  Place place_;
};

TEST_F(OneOfAWorseClass, GoesOnBehindABetterOneThatWaits) {
  place_.Add(3, "a", 8, 4);
  std::vector<SequenceId> order;
  for (int step = 0; step < 20; ++step) {
    const std::optional<Batch> batch = place_.Step();
    for (const BatchRow& row : batch->rows) {
      if (order.empty() || order.back() != row.id) order.push_back(row.id);
    }
  }
  EXPECT_EQ(order, (std::vector<SequenceId>{2, 3, 1}));
}

TEST_F(OneOfAWorseClass, GoesOnOnceItHasWaitedTooLong) {
  SequenceId last = 2;
  TimeUs waited = 0;
  for (; waited < 60 * kSecond && !HasRow(1); waited += kSecond / 4) {
    while (place_.schedule.counts().num_waiting < 2) place_.Add(++last, "a", 8, 2);
    place_.now += kSecond / 4;
  }
  EXPECT_GE(waited, 9 * kSecond) << "better ones have come all the time";
  EXPECT_LE(waited, 11 * kSecond);
}

class OneThatHoldsMostBlocks : public OneOfAWorseClass {
 protected:
  OneThatHoldsMostBlocks() : OneOfAWorseClass(500, 10) {}
};

TEST_F(OneThatHoldsMostBlocks, GoesOnIfABetterOneDoesNotFitBesideIt) {
  place_.Add(3, "a", 300, 4);
  EXPECT_GT(place_.StepsUntilRowOf(1, 10), 0u);
  EXPECT_EQ(place_.schedule.counts().num_preemptions, 0u);
}

}  // namespace
}  // namespace baton::scheduler
