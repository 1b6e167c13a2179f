// Chunks of prompts that the stages expand: each pays for all that stands before it, however short
// it is, so that fewer and larger ones are formed.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/long_prompts.h"

namespace baton::scheduler {
namespace {

// Chunks of eight keys' long prompts, until all of them are far on; by the step.
struct KeysTurns {
  uint64_t num_chunks = 0;
  uint64_t num_steps = 0;
  uint32_t shortest = UINT32_MAX;
  uint64_t longest_wait = 0;  // steps of a key without a chunk
  double seconds = 0;
};
KeysTurns ServeEightKeys(bool expands_prompts) {
  Place place(LongOptions(), 10'000, expands_prompts);
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, std::to_string(id), kLongPrompt, 1);
  KeysTurns turns;
  std::map<SequenceId, uint64_t> last_turns;
  const auto all_reached = [&place](uint32_t num_tokens) {
    for (SequenceId id = 1; id <= 8; ++id) {
      if (NumScheduled(place, id) < num_tokens) return false;
    }
    return true;
  };
  while (!all_reached(15'000)) place.Step();
  for (uint64_t step = 1; !all_reached(25'000); ++step, ++turns.num_steps) {
    const std::optional<Batch> batch = place.Step();
    if (!batch.has_value() || step > 1000) return {};
    turns.seconds += SecondsOf(*batch, LongPrices());
    for (const BatchRow& row : batch->rows) {
      ++turns.num_chunks;
      turns.shortest = std::min(turns.shortest, row.num_tokens);
      turns.longest_wait = std::max(turns.longest_wait, step - last_turns[row.id]);
      last_turns[row.id] = step;
    }
  }
  const auto [least, most] =
      std::minmax({NumScheduled(place, 1), NumScheduled(place, 2), NumScheduled(place, 3),
                   NumScheduled(place, 4), NumScheduled(place, 5), NumScheduled(place, 6),
                   NumScheduled(place, 7), NumScheduled(place, 8)});
  EXPECT_LE(most - least, kStepTokens);
  return turns;
}

TEST(ScheduleExpansion, KeysTakeTurnsWithLargerChunks) {
  const KeysTurns absorbed = ServeEightKeys(false);
  ASSERT_GT(absorbed.num_steps, 0u);
  EXPECT_EQ(absorbed.longest_wait, 1u) << "all in every step";
  const KeysTurns expanded = ServeEightKeys(true);
  ASSERT_GT(expanded.num_steps, 0u);
  // Each at least what takes as long as the expansion; every key within three steps.
  EXPECT_GE(expanded.shortest, 256u);
  EXPECT_LE(expanded.longest_wait, 3u);
  EXPECT_LT(expanded.num_chunks, absorbed.num_chunks * 6 / 10);
  EXPECT_LT(expanded.seconds, absorbed.seconds * 8 / 10);
}

// Two keys in a step, or three, or two and what is too little for a third: with 24 of them most
// are left out for longer than a prompt is for its chunk being short.
TEST(ScheduleExpansion, ManyKeysTakeTurnsWithoutCrumbs) {
  constexpr SequenceId kKeys = 24;
  for (const uint32_t step_tokens : {1100u, 1300u, 2048u}) {
    ScheduleOptions options = LongOptions(step_tokens);
    options.max_running = 2 * kKeys;
    Place place(options, 20'000, true);
    for (SequenceId id = 1; id <= kKeys; ++id) place.Add(id, std::to_string(id), kLongPrompt, 1);
    const auto least = [&place] {
      uint32_t tokens = UINT32_MAX;
      for (SequenceId id = 1; id <= kKeys; ++id) tokens = std::min(tokens, NumScheduled(place, id));
      return tokens;
    };
    while (least() < 20'000) ASSERT_TRUE(place.Step().has_value());
    std::map<SequenceId, uint64_t> last_turns;
    const uint64_t round = kKeys / (step_tokens / 550);
    for (uint64_t step = 1; step <= 2 * round; ++step) {
      const std::optional<Batch> batch = place.Step();
      ASSERT_TRUE(batch.has_value());
      EXPECT_GT(batch->num_tokens(), step_tokens * 3 / 4) << step_tokens;
      for (const BatchRow& row : batch->rows) {
        EXPECT_GE(row.num_tokens, LeastTokens(row, step_tokens)) << step_tokens << ": " << row.id;
        EXPECT_LE(step - last_turns[row.id], round + 1) << step_tokens << ": " << row.id;
        last_turns[row.id] = step;
      }
    }
    EXPECT_EQ(last_turns.size(), kKeys) << step_tokens;
  }
}

// Prompts of one key that begin alike: what the first leaves of a step is too little for any other,
// for however long they wait.
TEST(ScheduleExpansion, PromptsOfOneKeyComeOneAfterTheOther) {
  Place place(LongOptions(2000), 10'000, true);
  for (SequenceId id = 1; id <= 12; ++id) {
    AddAlike(&place, id, 8000);
    if (id == 1) {
      while (NumScheduled(place, 1) < 21'000) place.Step();
    }
  }
  for (int step = 0; step < 30; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    for (const BatchRow& row : batch->rows) {
      EXPECT_TRUE(row.sample || row.num_tokens >= LeastTokens(row, 2000)) << row.num_tokens;
    }
  }
  EXPECT_GE(place.ended.size(), 5u);
}

// A better class leaves 192 tokens of each step, of which a prompt behind 20,000 has none but in
// every eighth step.
TEST(ScheduleExpansion, WhatABetterClassLeavesMayBeTooLittle) {
  for (const bool expands_prompts : {false, true}) {
    ScheduleOptions options = LongOptions();
    options.max_chunk_tokens = 1900;
    Place place(options, 10'000, expands_prompts);
    place.Add(1, "a", 40'000, 1, /*weight=*/1, /*priority=*/1);
    while (NumScheduled(place, 1) < 20'000) place.Step();
    place.Add(2, "a", 50'000, 1);
    place.Step();  // it begins
    int num_chunks = 0;
    for (int step = 0; step < 24; ++step) {
      const std::optional<Batch> batch = place.Step();
      EXPECT_EQ(Place::RowOf(batch, 2)->num_tokens, 1856u);
      if (Place::RowOf(batch, 1).has_value()) ++num_chunks;
    }
    EXPECT_EQ(num_chunks, expands_prompts ? 3 : 24);
  }
}

// A step that has little room for prompts at all gives it to the one that there is.
TEST(ScheduleExpansion, APromptAloneTakesWhatThereIs) {
  Place place(LongOptions(64), 10'000, true);
  for (SequenceId id = 1; id <= 15; ++id) place.Add(id, "a", 1, 10'000);
  place.Step();
  place.Add(50, "a", 4000, 1);
  place.Step();
  for (int step = 0; step < 30; ++step) {
    const std::optional<BatchRow> row = Place::RowOf(place.Step(), 50);
    ASSERT_TRUE(row.has_value()) << step;
    EXPECT_GE(row->num_tokens, 25u) << "of 49, but for where a block ends";
  }
}

class ScheduleExpansionShort : public testing::Test {
 protected:
  // Somebody's long prompts are far on, and a victim has come and gone.
  ScheduleExpansionShort() : place_(Options(), 10'000, true) {
    for (SequenceId id = 1; id <= 4; ++id) place_.Add(id, "aggressor", kVeryLongPrompt, 100);
    while (NumScheduled(place_, 1) < 60'000) place_.Step();
    VictimComesAndGoes(&place_);
  }
  static ScheduleOptions Options() {
    ScheduleOptions options = LongOptions();
    options.max_model_len = kVeryLongPrompt + 1000;
    options.prefix_caching = false;
    return options;
  }

  static constexpr uint32_t kVeryLongPrompt = 90'000;
  Place place_;
};

// The expansion alone takes longer than a short step may: it cannot be cut, but is put to use.
TEST_F(ScheduleExpansionShort, AShortStepPutsAnExpansionToUse) {
  const uint32_t begin = NumScheduled(place_, 1);
  for (int step = 0; step < 20; ++step) {
    const std::optional<Batch> batch = place_.Step();
    ASSERT_TRUE(batch.has_value());
    ASSERT_EQ(batch->rows.size(), 1u);
    const BatchRow& row = batch->rows[0];
    EXPECT_GE(row.num_tokens, 20u);
    StepWork first;  // of its tokens
    first.Add(row.begin, 1, false, row.num_expanded);
    EXPECT_LE(SecondsOf(*batch, LongPrices()), 1.13 * StepCost(LongPrices()).Seconds(first));
  }
  EXPECT_GT(NumScheduled(place_, 1), begin + 400);
}

// What can wait has its eighth of the time of those that cannot, though it takes longer than all
// that it is ever owed.
TEST_F(ScheduleExpansionShort, LongPrefixesGoOnBesideThoseThatCannotWait) {
  const uint32_t begin = NumScheduled(place_, 1);
  double all = 0;
  double others = 0;
  const StepCost cost(LongPrices());
  for (SequenceId id = 1000; id < 1400; ++id) {
    place_.Add(id, "victim", 3000, 1);
    while (place_.ended.back() != id) {
      const std::optional<Batch> batch = place_.Step();
      ASSERT_TRUE(batch.has_value());
      const double seconds = SecondsOf(*batch, LongPrices());
      all += seconds;
      StepWork work;
      for (const BatchRow& row : batch->rows) {
        if (row.id >= 1000) AddWork(row, &work);
      }
      others += seconds - (work.tokens > 0 ? cost.Seconds(work) : 0);
    }
  }
  EXPECT_GT(NumScheduled(place_, 1), begin);
  EXPECT_GT(others, 0.05 * all) << others << " of " << all;
  EXPECT_LT(others, 0.2 * all) << others << " of " << all;
}

// Who has no time beside them is not passed by another one of its key that has.
TEST_F(ScheduleExpansionShort, PromptsOfAKeyGoOnInOrder) {
  int num_chunks = 0;
  for (SequenceId id = 1000; id < 1100; ++id) {
    place_.Add(id, "victim", 3000, 1);
    while (place_.ended.back() != id) {
      const std::optional<Batch> batch = place_.Step();
      ASSERT_TRUE(batch.has_value());
      for (const BatchRow& row : batch->rows) {
        if (row.id >= 1000) continue;
        EXPECT_EQ(row.id, 1u) << "before it has what it wants";
        ++num_chunks;
      }
    }
  }
  EXPECT_GT(num_chunks, 0);
}

// A newcomer of a key that floods is no exception, though all that stands before its tokens is in
// the cache.
TEST(ScheduleExpansion, ALongHitDoesNotHoldUpThoseThatCannotWait) {
  ScheduleOptions options = LongOptions();
  options.max_model_len = 61'000;
  Place place(options, 10'000, true);
  place.Add(500, "aggressor", 60'000, 1);
  while (place.ended.empty()) place.Step();
  place.ended.clear();
  for (SequenceId id = 1; id <= 12; ++id) place.Add(id, "aggressor", 1, 10'000);
  place.Step();
  VictimComesAndGoes(&place);
  place.Add(1000, "victim", 1000, 1);
  SequenceRequest request = MakeRequest(500, 60'000, 1);
  request.id = 600;
  request.fairness_key = "aggressor";
  request.prompt.insert(request.prompt.end(), 500, 600);
  ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
  const std::optional<Batch> batch = place.Step();
  ASSERT_TRUE(Place::RowOf(batch, 1000).has_value());
  ASSERT_GT(place.schedule.counts().short_step_seconds, 0);
  EXPECT_FALSE(Place::RowOf(batch, 600).has_value()) << SecondsOf(*batch, LongPrices());
  EXPECT_GT(place.StepsUntilRowOf(600, 5), 0u);
}

// What the first token of a request takes alone, of which short steps are a part: each of its
// chunks pays for all that stands before it.
TEST(ScheduleExpansion, APromptAlonePaysForEachChunk) {
  ScheduleOptions options = LongOptions();
  options.prefix_caching = false;
  for (const uint32_t max_chunk : {0u, 1000u}) {
    options.max_chunk_tokens = max_chunk;
    Place place(options, 10'000, true);
    for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", kLongPrompt, 100);
    for (int step = 0; step < 10; ++step) place.Step();
    constexpr uint32_t kTokens = 20'000;
    place.Add(50, "victim", kTokens, 1);
    place.Step();
    const uint32_t chunk = max_chunk > 0 ? max_chunk : kStepTokens;
    double alone = 0;
    for (uint32_t begin = 0; begin < kTokens; begin += chunk) {
      const uint32_t num_tokens = std::min(chunk, kTokens - begin);
      StepWork work;
      work.Add(begin, num_tokens, begin + num_tokens == kTokens, kTokens / 64 * 64);
      alone += StepCost(LongPrices()).Seconds(work);
    }
    EXPECT_NEAR(place.schedule.counts().short_step_seconds, 0.375 * alone, 1e-9) << max_chunk;
  }
}

}  // namespace
}  // namespace baton::scheduler
