// How the places among the running, the tokens of a step and the blocks are shared between keys.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {
namespace {

TEST(SchedulePlaces, AKeyWithoutAPlaceGetsOneInTheNextStep) {
  Place place(PlaceOptions(4));
  for (SequenceId id = 1; id <= 10; ++id) place.Add(id, "aggressor", 8, 1000);
  for (int step = 0; step < 5; ++step) place.Step();
  ASSERT_EQ(place.schedule.counts().num_running, 4u);
  place.Add(11, "victim", 8, 4);
  EXPECT_EQ(place.StepsUntilRowOf(11, 10), 1u);
  EXPECT_EQ(place.schedule.counts().num_running, 4u);
  EXPECT_EQ(place.schedule.counts().num_paused, 1u);
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u) << "what it computed is kept";
}

TEST(SchedulePlaces, AnOverdueWorseClassDoesNotCloseTheBest) {
  Place place(PlaceOptions(2, 0));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(3, "batch", 8, 4, /*weight=*/1, /*priority=*/5);
  place.now = 11 * kSecond;
  place.Add(4, "victim", 8, 4);
  EXPECT_TRUE(Place::RowOf(place.Step(), 4).has_value());
}

// Small sequences of others take each block that comes free; one that needs most of the cache gets
// them all the same once it has waited too long.
TEST(SchedulePlaces, ALargeSequenceIsNotStarvedByClaims) {
  ScheduleOptions options = PlaceOptions(8, 0);
  options.prefix_caching = false;
  options.priority_aging = kSecond;
  Place place(options, 100);
  SequenceId last_id = 1;
  std::map<SequenceId, std::string> live;
  const auto refill = [&] {
    for (const SequenceId id : place.ended) live.erase(id);
    for (const std::string key : {"b", "c", "d"}) {
      const auto count = std::count_if(live.begin(), live.end(),
                                       [&](const auto& entry) { return entry.second == key; });
      for (auto i = count; i < 2; ++i) {
        live[++last_id] = key;
        place.Add(last_id, key, 640, 30 + static_cast<uint32_t>(last_id % 7));
      }
    }
  };
  bool has_row = false;
  for (int step = 0; step < 300 && !has_row; ++step) {
    refill();
    if (step == 5) place.Add(1, "a", 5800, 4);
    has_row = Place::RowOf(place.Step(), 1).has_value();
    place.now += kSecond / 10;
  }
  EXPECT_TRUE(has_row);
}

// The same of one that gave up its blocks: its key has little, whatever it had before.
TEST(SchedulePlaces, APreemptedSequenceIsNotStarvedByClaims) {
  ScheduleOptions options = PlaceOptions(8, 0);
  options.prefix_caching = false;
  options.priority_aging = kSecond;
  Place place(options, 100);
  place.Add(1, "a", 8, 400);
  place.Add(2, "a", 5000, 400);
  for (int step = 0; step < 5; ++step) place.Step();
  SequenceId last_id = 2;
  std::map<SequenceId, std::string> live;
  const auto refill = [&] {
    for (const SequenceId id : place.ended) live.erase(id);
    for (const std::string key : {"b", "c", "d"}) {
      const auto count = std::count_if(live.begin(), live.end(),
                                       [&](const auto& entry) { return entry.second == key; });
      for (auto i = count; i < 2; ++i) {
        live[++last_id] = key;
        place.Add(last_id, key, 640, 30 + static_cast<uint32_t>(last_id % 7));
      }
    }
  };
  const auto state = [&place] { return place.schedule.Find(2)->state(); };
  for (int step = 0; step < 10 && state() != Sequence::State::kWaiting; ++step) {
    refill();
    place.Step();
  }
  ASSERT_EQ(state(), Sequence::State::kWaiting) << "it gives up its blocks";
  for (int step = 0; step < 300 && state() == Sequence::State::kWaiting; ++step) {
    refill();
    place.Step();
    place.now += kSecond / 10;
  }
  EXPECT_EQ(state(), Sequence::State::kRunning);
}

TEST(SchedulePlaces, AClaimOfABetterClassGoesBeforeOneThatIsPaused) {
  Place place(PlaceOptions(2, 0));
  place.Add(1, "paused", 8, 1000, /*weight=*/1, /*priority=*/5);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  for (SequenceId id = 2; id <= 3; ++id) place.Add(id, "large", 8, 1000, 1, /*priority=*/5);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Continue(1);
  place.Add(4, "better", 8, 4);
  const std::optional<Batch> batch = place.Step();
  EXPECT_TRUE(Place::RowOf(batch, 4).has_value());
  EXPECT_FALSE(Place::RowOf(batch, 1).has_value());
  EXPECT_GT(place.StepsUntilRowOf(1, 10), 0u) << "the next place is its own";
}

TEST(SchedulePlaces, ThePlaceIsTheLatestOfTheKeyMostOverItsShare) {
  Place place(PlaceOptions(6));
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "large", 8, 1000);
  for (SequenceId id = 5; id <= 6; ++id) place.Add(id, "small", 8, 1000);
  place.Step();
  place.Add(7, "new", 8, 1000);
  place.Step();
  EXPECT_EQ(place.schedule.Find(4)->state(), Sequence::State::kPaused);
  EXPECT_EQ(place.schedule.Find(7)->state(), Sequence::State::kRunning);
}

TEST(SchedulePlaces, WhatIsPausedGoesOnBeforeNewcomersOfItsKey) {
  Place place(PlaceOptions(2));
  for (SequenceId id = 1; id <= 3; ++id) place.Add(id, "aggressor", 8, 40);
  place.Step();
  place.Add(4, "victim", 8, 3);
  ASSERT_EQ(place.StepsUntilRowOf(4, 2), 1u);
  ASSERT_EQ(place.schedule.Find(2)->state(), Sequence::State::kPaused);
  while (place.ended.empty()) place.Step();
  EXPECT_EQ(place.ended, std::vector<SequenceId>{4});
  EXPECT_TRUE(Place::RowOf(place.Step(), 2).has_value());
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
  while (place.ended.size() < 4) place.Step();
  EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(SchedulePlaces, KeysWithinTheirSharesKeepTheirPlaces) {
  Place place(PlaceOptions(4));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "a", 8, 1000);
  for (SequenceId id = 3; id <= 4; ++id) place.Add(id, "b", 8, 1000);
  place.Step();
  place.Add(5, "b", 8, 1000);
  for (int step = 0; step < 10; ++step) place.Step();
  EXPECT_EQ(place.schedule.counts().num_pauses, 0u);
  EXPECT_EQ(place.schedule.Find(5)->state(), Sequence::State::kWaiting);
}

TEST(SchedulePlaces, SharesGoByWeight) {
  Place place(PlaceOptions(8));
  for (SequenceId id = 1; id <= 20; ++id) place.Add(id, "light", 8, 1000);
  place.Step();
  for (SequenceId id = 21; id <= 40; ++id) place.Add(id, "heavy", 8, 1000, 3);
  place.Step();
  uint32_t num_heavy = 0;
  for (SequenceId id = 21; id <= 40; ++id) {
    num_heavy += place.schedule.Find(id)->state() == Sequence::State::kRunning ? 1 : 0;
  }
  EXPECT_EQ(num_heavy, 6u);
  EXPECT_EQ(place.schedule.counts().num_pauses, 6u);
}

TEST(SchedulePlaces, ABetterClassKeepsItsPlaces) {
  Place place(PlaceOptions(2));
  for (SequenceId id = 1; id <= 2; ++id) {
    SequenceRequest request = MakeRequest(id, 8, 100);
    request.fairness_key = "urgent";
    request.priority = -1;
    ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
  }
  place.Step();
  place.Add(3, "ordinary", 8, 10);
  for (int step = 0; step < 10; ++step) place.Step();
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
}

TEST(SchedulePlaces, LongPromptsOfOneKeyLeaveAnotherItsPartOfTheStep) {
  ScheduleOptions options = PlaceOptions(8, 0);
  options.max_step_tokens = 1024;
  Place place(options);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 8000, 10);
  for (int step = 0; step < 2; ++step) place.Step();
  place.Add(5, "victim", 1500, 10);
  for (uint32_t step = 0; step < 3; ++step) {
    const std::optional<Batch> batch = place.Step();
    const std::optional<BatchRow> row = Place::RowOf(batch, 5);
    ASSERT_TRUE(row.has_value());
    EXPECT_GE(row->num_tokens, step < 2 ? 512u : 1500u - 1024u);
    EXPECT_GE(batch->num_tokens(), 1024u - 64u) << "the step is full all the same";
  }
  EXPECT_EQ(place.schedule.Find(5)->num_generated(), 1u);
}

TEST(SchedulePlaces, BlocksAreTakenFromAKeyOverItsShareButNotForEver) {
  ScheduleOptions options = PlaceOptions(8);
  options.prefix_caching = false;
  Place place(options, 100);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 1500, 60);  // 24 blocks each
  for (int step = 0; step < 6; ++step) place.Step();
  ASSERT_EQ(place.schedule.counts().num_running, 4u);
  SequenceId victim = 10;
  // One step holds back what is in flight, the next one has its blocks.
  for (int round = 0; round < 8; ++round, ++victim) {
    place.Add(victim, "victim", 640, 2);
    const uint32_t steps = place.StepsUntilRowOf(victim, 100);
    if (round < 2) {
      EXPECT_LE(steps, 3u) << round;
    }
    while (place.schedule.Find(victim) != nullptr) place.Step();
  }
  for (int step = 0; step < 1000 && place.ended.size() < 12; ++step) place.Step();
  EXPECT_EQ(place.ended.size(), 12u);
  EXPECT_LE(place.schedule.counts().num_preemptions, 6u) << "no sequence yields more than twice";
  EXPECT_GE(place.schedule.counts().num_preemptions, 1u);
}

// All places are a better class's, but for one that is its key's share. What is paused does not
// lose what it has computed for one that could not begin.
TEST(SchedulePlaces, NobodyGivesUpBlocksForOneThatFindsNoPlace) {
  ScheduleOptions options = PlaceOptions(4, 0);
  options.prefix_caching = false;
  options.max_step_tokens = 65536;
  Place place(options, 340);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 82 * 64 - 70, 60);
  place.Step();
  for (SequenceId id = 5; id <= 7; ++id) place.Add(id, "urgent", 8, 1000, 15, -1);
  place.Step();
  ASSERT_EQ(place.schedule.counts().num_paused, 3u);
  place.Add(8, "victim", 15 * 64 - 8, 4);
  for (int step = 0; step < 5; ++step) EXPECT_FALSE(Place::RowOf(place.Step(), 8).has_value());
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u);
}

// What a key cannot have for a worse class, it may have for a better one.
TEST(SchedulePlaces, AClaimThatIsDeclinedIsOfItsClassAlone) {
  Place place(PlaceOptions(2, 0));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(3, "victim", 8, 4, /*weight=*/1, /*priority=*/5);
  place.now = 11 * kSecond;
  place.Add(4, "victim", 8, 4);
  EXPECT_TRUE(Place::RowOf(place.Step(), 4).has_value());
}

TEST(SchedulePlaces, ALoneSequenceWaitsAloneBehindPausedOnes) {
  Place place(PlaceOptions(2, 0));
  for (SequenceId id = 1; id <= 3; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(4, "victim", 8, 1000);
  place.Step();
  ASSERT_EQ(place.schedule.counts().num_paused, 1u);
  // Suspected of killing stages: it runs alone, and nothing that is paused keeps its blocks.
  for (int loss = 0; loss < 2; ++loss) {
    ASSERT_TRUE(place.schedule.NextBatch().has_value());
    ASSERT_TRUE(place.schedule.CloseEpoch().empty());
    place.schedule.OpenEpoch(2);
  }
  const std::optional<Batch> alone = place.schedule.NextBatch();
  ASSERT_TRUE(alone.has_value());
  EXPECT_EQ(alone->rows.size(), 1u);
  EXPECT_EQ(place.schedule.counts().num_paused, 0u);
}

// What one gives up for a claim that has to wait for more is for that claim, and not for the next
// newcomer of the key that gave it, though it is better than one that is paused.
TEST(SchedulePlaces, BlocksThatAClaimCollectsAreForNobodyElse) {
  ScheduleOptions options = PlaceOptions(8);
  options.prefix_caching = false;
  options.max_step_tokens = 65536;
  Place place(options, 100);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 1100, 1000, /*weight=*/4);
  place.Add(5, "aggressor", 850, 1000, /*weight=*/4, /*priority=*/3);
  place.Add(6, "other", 100, 1000, /*weight=*/1, /*priority=*/5);
  place.Add(7, "other", 30, 1000);
  while (place.schedule.counts().num_running < 7) ASSERT_TRUE(place.Step().has_value());
  for (const SequenceId id : {5, 6}) place.schedule.Suspend(id);
  for (int step = 0; step < 4; ++step) place.Step();
  for (const SequenceId id : {5, 6}) place.schedule.Continue(id);
  // 11 blocks are free. The claim wants 30: the 14 of sequence 5, and of one that is in flight.
  SequenceRequest newcomer = MakeRequest(8, 1250, 10);
  newcomer.fairness_key = "aggressor";
  newcomer.fairness_weight = 4;
  newcomer.resumed = {7};  // it goes before all newcomers of its class
  ASSERT_TRUE(place.schedule.Add(std::move(newcomer)).ok());
  place.Add(9, "victim", 1880, 10, /*weight=*/4);
  EXPECT_FALSE(Place::RowOf(place.Step(), 8).has_value());
  ASSERT_EQ(place.schedule.Find(5)->state(), Sequence::State::kWaiting) << "it gave its blocks";
  EXPECT_EQ(place.schedule.Find(8)->state(), Sequence::State::kWaiting);
  EXPECT_EQ(place.schedule.Find(9)->state(), Sequence::State::kWaiting) << "one is in flight yet";
  EXPECT_LE(place.StepsUntilRowOf(9, 10), 2u);
  EXPECT_EQ(place.schedule.counts().num_preemptions, 2u);
  EXPECT_EQ(place.schedule.Find(8)->state(), Sequence::State::kWaiting);
}

// Nobody gives up blocks of which the claimant has the use already, if the others are not enough.
TEST(SchedulePlaces, BlocksThatAreSharedAreNoGain) {
  Place place(PlaceOptions(4, 0), 24);
  place.Add(1, "a", 810, 20);
  place.Add(2, "a", 640, 60);
  for (int step = 0; step < 3; ++step) place.Step();
  ASSERT_EQ(place.schedule.counts().num_used_blocks, 24u);
  SequenceRequest request = MakeRequest(2, 640, 3);
  request.id = 3;
  request.fairness_key = "b";
  request.prompt.insert(request.prompt.end(), 120, 5);
  ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());  // 2 blocks besides 10 of those
  for (int step = 0; step < 5; ++step) place.Step();
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u);
  EXPECT_NE(place.StepsUntilRowOf(3, 30), 0u) << "once 1 has ended";
}

// A request that comes stands behind the step that the first stage is at, and no other.
TEST(SchedulePlaces, NothingIsOrderedAheadWhileAnotherKeyMayCome) {
  ScheduleOptions options = PlaceOptions(4, 1);
  options.max_steps_in_flight = 2;
  options.step_cost.prior.assign(2, CostTerms{.values = {1e-3, 0, 1e-5, 0, 0, 0, 0}});
  Place place(options);
  place.Add(1, "a", 8000, 4);
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(place.schedule.NextBatch().has_value());
  for (StepId step = 1; step <= 3; ++step) {
    ASSERT_TRUE(place.schedule.Complete({.step_id = step}).ok());
  }
  place.Add(2, "a", 8000, 4);
  place.Add(3, "b", 8, 4);
  const std::optional<Batch> next = place.schedule.NextBatch();
  ASSERT_TRUE(Place::RowOf(next, 3).has_value());
  EXPECT_FALSE(place.schedule.NextBatch().has_value());
  place.schedule.ReachLastStage(next->step_id);
  EXPECT_TRUE(place.schedule.NextBatch().has_value());
}

}  // namespace
}  // namespace baton::scheduler
