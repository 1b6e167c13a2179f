// Whose turn it is among long prompts that the stages expand, and among newcomers behind long hits.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/long_prompts.h"

namespace baton::scheduler {
namespace {

// What chunks that end where blocks do leave of a step is too little for a prompt behind a long
// prefix; its turn comes when the one before it is done.
TEST(ScheduleExpansionTurns, LeftoversAreNotForLongPrefixes) {
  for (const bool expands_prompts : {false, true}) {
    Place place(LongOptions(), 10'000, expands_prompts);
    place.Add(1, "a", 100, 10'000);  // decodes: a step has 2,047 tokens for prompts
    place.Step();
    AddAlike(&place, 2, 1);
    while (place.ended.empty()) place.Step();
    AddAlike(&place, 3, 8000);
    AddAlike(&place, 4, 8000);
    place.Step();  // both begin
    ASSERT_GE(NumScheduled(place, 4), 20'000u - 64);
    int num_chunks = 0;
    for (int step = 0; step < 3; ++step) {
      const std::optional<Batch> batch = place.Step();
      EXPECT_EQ(Place::RowOf(batch, 3)->num_tokens, 1984u);
      if (Place::RowOf(batch, 4).has_value()) ++num_chunks;
    }
    EXPECT_EQ(num_chunks, expands_prompts ? 0 : 3);
    EXPECT_GT(Place::RowOf(place.Step(), 4)->num_tokens, 1000u) << "the other one is done";
  }
}

// Likewise if it begins only now; it has its place, and its turn.
TEST(ScheduleExpansionTurns, LeftoversAreNotForANewcomerWithALongHit) {
  for (const bool expands_prompts : {false, true}) {
    Place place(LongOptions(), 10'000, expands_prompts);
    AddAlike(&place, 1, 1);
    while (place.ended.empty()) place.Step();
    place.Add(2, "a", 1, 10'000);  // decodes: a step has 2,047 tokens for prompts
    AddAlike(&place, 3, 8000);
    place.Step();
    for (SequenceId id = 4; id <= 6; ++id) AddAlike(&place, id, 1000);
    place.Step();
    EXPECT_EQ(place.schedule.Find(4)->state(), Sequence::State::kRunning);
    EXPECT_EQ(place.schedule.Find(5)->state(), Sequence::State::kWaiting) << "one at a time";
    EXPECT_EQ(NumScheduled(place, 4) > 20'000, !expands_prompts);
    const std::optional<Batch> batch = place.Step();
    EXPECT_EQ(Place::RowOf(batch, 4).has_value(), !expands_prompts);
    for (int step = 0; place.ended.size() < 3; ++step) {
      ASSERT_LT(step, 20);
      const std::optional<Batch> next = place.Step();
      ASSERT_TRUE(next.has_value());
      for (const BatchRow& row : next->rows) {
        if (!expands_prompts || row.id <= 3) continue;
        EXPECT_TRUE(row.sample || row.num_tokens >= LeastTokens(row, kStepTokens)) << row.id;
      }
    }
  }
}

// What a newcomer leaves of a step is too little for a prompt behind 40,000 tokens, and for one
// more newcomer. That one has had no chunk yet, but was not left out for longer: the prompt that
// began has its turn when those keys have had theirs that had prompts in places before, in whatever
// number newcomers come, of keys that come and go, or of one that has many.
TEST(ScheduleExpansionTurns, NewcomersWithLongHitsDoNotHoldUpWhoBegan) {
  constexpr uint32_t kCommon = 35'008;
  for (const bool has_one_key : {false, true}) {
    Place place(LongOptions(600), 10'000, true);
    AddAlike(&place, 600, 1, "n", kCommon);
    while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
    place.Add(1, "b", 59'000, 1);
    while (NumScheduled(place, 1) < 40'000) ASSERT_TRUE(place.Step().has_value());
    for (SequenceId id = 2; id <= 11; ++id) place.Add(id, std::to_string(id), 1, 10'000);
    place.Step();  // 590 tokens of a step are left by the decodes
    SequenceId last = 1000;
    uint64_t left_out = 0;
    for (int step = 0; step < 30; ++step) {
      while (place.schedule.counts().num_waiting < 3) {
        ++last;
        AddAlike(&place, last, 300, has_one_key ? "n" : "n" + std::to_string(last), kCommon);
      }
      const std::optional<Batch> batch = place.Step();
      const std::optional<BatchRow> row = Place::RowOf(batch, 1);
      left_out = row.has_value() ? 0 : left_out + 1;
      EXPECT_LE(left_out, has_one_key ? 1 : kPlaces - 11 - 1) << has_one_key << ": step " << step;
      EXPECT_TRUE(!row.has_value() || row->num_tokens >= 256) << "a crumb: " << row->num_tokens;
    }
    // One key that has many floods the group: what it has can wait.
    EXPECT_TRUE(has_one_key || place.ended.size() > 5) << "newcomers get on as well";
  }
}

// A short prompt of one more key does not wait until all others had their turns.
TEST(ScheduleExpansionTurns, AShortNewcomerIsInTheNextStep) {
  constexpr SequenceId kKeys = 12;
  Place place(LongOptions(1100), 20'000, true);
  for (SequenceId id = 1; id <= kKeys; ++id) place.Add(id, std::to_string(id), kLongPrompt, 1);
  while (NumScheduled(place, kKeys) < 20'000) ASSERT_TRUE(place.Step().has_value());
  for (SequenceId id = 100; id < 110; ++id) {
    place.Add(id, "short", 100, 1);
    EXPECT_EQ(place.StepsUntilRowOf(id, 20), 1u);
    place.Step();
  }
}

// Of each key one newcomer has only its place at a time, for which a better class leaves too
// little.
TEST(ScheduleExpansionTurns, NobodyTakesAPlaceBehindOneThatHasNoMore) {
  ScheduleOptions options = LongOptions();
  options.max_chunk_tokens = 1900;
  Place place(options, 10'000, true);
  AddAlike(&place, 600, 1);
  while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
  place.Add(1, "a", 50'000, 1);
  place.Step();  // it begins
  for (SequenceId id = 2; id <= 5; ++id) AddAlike(&place, id, 1000, "a", 20'000, /*priority=*/1);
  for (int step = 0; step < 6; ++step) {
    EXPECT_EQ(Place::RowOf(place.Step(), 1)->num_tokens, 1856u);
    EXPECT_EQ(place.schedule.Find(2)->state(), Sequence::State::kRunning);
    for (SequenceId id = 3; id <= 5; ++id) {
      EXPECT_EQ(place.schedule.Find(id)->state(), Sequence::State::kWaiting) << id;
    }
  }
}

// What is too little for a prompt behind 20,000 tokens is not for a shorter one of its key that
// came later, whether that one has begun or not.
TEST(ScheduleExpansionTurns, NobodyGoesBeforeAnotherOneOfItsKey) {
  ScheduleOptions options = LongOptions();
  options.max_chunk_tokens = 1900;
  Place place(options, 10'000, true);
  AddAlike(&place, 600, 1);
  while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
  place.Add(1, "b", 50'000, 1, /*weight=*/1, /*priority=*/-1);
  place.Step();  // it begins, and leaves 192 tokens of each step
  AddAlike(&place, 2, 1000);
  for (SequenceId id = 3; id <= 4; ++id) place.Add(id, "a", 20, 1);
  place.Add(5, "c", 20, 1);
  std::vector<SequenceId> first_rows;
  for (int step = 0; step < 20; ++step) {
    const std::optional<Batch> batch = place.Step();
    for (const BatchRow& row : batch->rows) {
      if (row.begins) first_rows.push_back(row.id);
    }
  }
  EXPECT_EQ(first_rows, (std::vector<SequenceId>{5, 2, 3, 4}))
      << "another key's is in nobody's way";
}

// Prices at which no step is long enough to be felt, and chunks that leave some of each step.
ScheduleOptions UnfeltOptions() {
  ScheduleOptions options = LongOptions();
  options.max_chunk_tokens = 2000;
  for (CostTerms& prior : options.step_cost.prior) {
    for (double& price : prior.values) price /= 20;
  }
  return options;
}

// Nor is a key whose turn comes later in the queue, and that has more than its share of the places.
TEST(ScheduleExpansionTurns, AKeyThatWaitsForItsFirstTokensClosesNoOther) {
  Place place(UnfeltOptions(), 10'000, true);
  AddAlike(&place, 600, 1);
  while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
  for (SequenceId id = 11; id <= 17; ++id) place.Add(id, "c", 1, 10'000);
  place.Step();
  place.Add(1, "b", 50'000, 1, /*weight=*/1, /*priority=*/-1);
  place.Step();  // it begins, and leaves 57 tokens of each step
  AddAlike(&place, 2, 1000);
  ASSERT_FALSE(Place::RowOf(place.Step(), 2).has_value());
  ASSERT_EQ(place.schedule.Find(2)->state(), Sequence::State::kRunning);
  place.Add(3, "a", 20, 1);
  place.Add(5, "c", 20, 1);
  const std::optional<Batch> batch = place.Step();
  EXPECT_TRUE(Place::RowOf(batch, 5).has_value());
  EXPECT_FALSE(Place::RowOf(batch, 3).has_value()) << "another one of its key goes before it";
}

// Not even in the step in which others get their places, however many keys have such a newcomer.
TEST(ScheduleExpansionTurns, NewcomersThatGetOnlyTheirPlacesCloseNoOtherKey) {
  Place place(UnfeltOptions(), 10'000, true);
  AddAlike(&place, 600, 1);
  while (place.ended.empty()) ASSERT_TRUE(place.Step().has_value());
  const std::vector<std::string> keys = {"a", "d", "e"};
  for (SequenceId i = 0; i < keys.size(); ++i) place.Add(11 + i, keys[i], 1, 10'000);
  place.Add(14, "c", 100, 10'000);  // served most: its newcomer is behind those of the others
  place.Step();
  place.Add(1, "b", 50'000, 1, /*weight=*/12, /*priority=*/-1);  // one place is each other's share
  place.Step();  // it begins, and leaves 60 tokens of each step
  for (SequenceId i = 0; i < keys.size(); ++i) {
    AddAlike(&place, 21 + i, 1000, keys[i]);
    place.Add(31 + i, keys[i], 20, 1);
  }
  place.Add(5, "c", 20, 1);
  const std::optional<Batch> batch = place.Step();
  EXPECT_TRUE(Place::RowOf(batch, 5).has_value());
  for (SequenceId i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(place.schedule.Find(21 + i)->state(), Sequence::State::kRunning) << keys[i];
    EXPECT_FALSE(Place::RowOf(batch, 21 + i).has_value()) << keys[i] << ": too little for it";
    EXPECT_FALSE(Place::RowOf(batch, 31 + i).has_value()) << keys[i] << ": one goes before it";
  }
}

}  // namespace
}  // namespace baton::scheduler
