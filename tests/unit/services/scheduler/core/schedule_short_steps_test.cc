// How long steps get by what can wait, while a request of a key within its share may come.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "services/scheduler/core/step_cost.h"
#include "services/scheduler/core/step_work.h"
#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kPlaces = 16;
constexpr double kShortSeconds = 0.005;
// What can wait adds this part to what cannot, and a row that a step takes in any case this much.
constexpr double kLonger = 1.125;
constexpr double kRowSeconds = 0.8e-3;

// Prices that no measurement moves, because none comes: in milliseconds, a step 1, a token 0.3, a
// token that samples 0.5 more.
StepCostOptions Prices(double decode_position = 1e-9) {
  return {.prior = {CostTerms{.values = {1e-3, 0, 0.3e-3, decode_position, 1e-9, 0, 0.5e-3}}}};
}

ScheduleOptions ShortStepOptions(uint32_t lookahead = 0) {
  ScheduleOptions options = PlaceOptions(kPlaces, lookahead);
  options.step_cost = Prices();
  options.prefix_caching = false;
  return options;
}

double SecondsOf(const Batch& batch, const StepCostOptions& prices = Prices()) {
  StepWork work;
  for (const BatchRow& row : batch.rows) AddWork(row, &work);
  return StepCost(prices).Seconds(work);
}

// A request of another key comes, and is answered.
void VictimComesAndGoes(Place* place) {
  place->Add(50, "victim", 32, 1);
  for (int step = 0; step < 1000 && place->ended.empty(); ++step) place->Step();
  ASSERT_EQ(place->ended, std::vector<SequenceId>{50});
}

// All places are the aggressor's, and decode; a victim has come and gone.
void Fill(Place* place, uint32_t num_more) {
  for (SequenceId id = 1; id <= kPlaces; ++id) place->Add(id, "aggressor", 32, 4000);
  place->Step();
  for (SequenceId id = 100; id < 100 + num_more; ++id) place->Add(id, "aggressor", 32, 4000);
  VictimComesAndGoes(place);
}

TEST(ScheduleShortSteps, DecodesTakeTurns) {
  Place place(ShortStepOptions());
  Fill(&place, 10);
  std::map<SequenceId, int> last_rows;
  for (int step = 0; step < 40; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds);
    EXPECT_GE(SecondsOf(*batch), kShortSeconds - kRowSeconds) << "as many as may be";
    for (const BatchRow& row : batch->rows) {
      EXPECT_LE(step - last_rows[row.id], 4) << "16 places by 4";
      last_rows[row.id] = step;
    }
  }
  EXPECT_EQ(last_rows.size(), kPlaces);
}

// The first token of a victim takes the rest of a short step and one step that is hardly longer
// than it would be alone, however much the other key has running and waiting.
TEST(ScheduleShortSteps, AVictimIsHardlyHeldUp) {
  for (const uint32_t prompt_tokens : {1u, 8u, 32u, 300u, 1500u}) {
    Place place(ShortStepOptions());
    Fill(&place, 200);
    Place alone(ShortStepOptions());
    for (SequenceId id = 1000; id < 1010; ++id) {
      const std::optional<Batch> before = place.Step();
      EXPECT_LE(SecondsOf(*before), kShortSeconds);
      place.Add(id, "victim", prompt_tokens, 1);
      alone.Add(id, "victim", prompt_tokens, 1);
      const std::optional<Batch> shared = place.Step();
      const std::optional<BatchRow> row = Place::RowOf(shared, id);
      ASSERT_TRUE(row.has_value() && row->sample) << prompt_tokens;
      const double own = SecondsOf(*alone.Step());
      EXPECT_LE(SecondsOf(*shared), std::max(kShortSeconds, kLonger * own) + kRowSeconds);
      for (int step = 0; step < 5; ++step) place.Step();
    }
  }
}

TEST(ScheduleShortSteps, PromptsOfTheOthersGoOn) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 9; id <= 20; ++id) place.Add(id, "aggressor", 300, 4000);
  for (int step = 0; step < 400; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
  }
  for (SequenceId id = 9; id <= kPlaces; ++id) {
    EXPECT_GT(place.schedule.Find(id)->num_generated(), 0u) << id;
  }
}

// One that has fewer places than its share only because steps are short is no newcomer for that.
TEST(ScheduleShortSteps, WantingMoreThanItsShareAKeyWaitsWithFewPlaces) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 5; id <= 24; ++id) place.Add(id, "aggressor", 300, 4000);
  for (SequenceId id = 100; id < 110; ++id) {
    for (int step = 0; step < 5; ++step) place.Step();
    ASSERT_LE(place.schedule.counts().num_running, kPlaces / 2);
    place.Add(id, "victim", 4, 1);
    const std::optional<Batch> batch = place.Step();
    EXPECT_TRUE(Place::RowOf(batch, id).has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
  }
}

// One decode takes longer than a step should: it gets its row, and prompts go on beside it.
TEST(ScheduleShortSteps, ALongDecodeStarvesNoPrompt) {
  ScheduleOptions options = ShortStepOptions();
  options.max_running = 2;
  options.step_cost = Prices(1e-5);
  Place place(options);
  place.Add(1, "aggressor", 2000, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  place.Add(3, "aggressor", 300, 10);
  const uint32_t before = place.schedule.Find(1)->num_generated();
  uint32_t num_steps = 0;
  while (place.schedule.Find(3)->num_generated() == 0 && num_steps < 200) {
    place.Step();
    ++num_steps;
  }
  EXPECT_LT(num_steps, 100u);
  EXPECT_EQ(place.schedule.Find(1)->num_generated(), before + num_steps);
}

TEST(ScheduleShortSteps, AKeyAloneHasLongOnes) {
  Place place(ShortStepOptions());
  Fill(&place, 10);
  place.now += 11 * kSecond;
  const std::optional<Batch> batch = place.Step();
  EXPECT_EQ(batch->rows.size(), kPlaces);
}

// Nobody floods: what one key has, another need not wait for.
TEST(ScheduleShortSteps, ManyKeysOfFewRequestsHaveLongOnes) {
  for (const uint32_t num_keys : {8u, kPlaces, 3 * kPlaces}) {
    Place place(ShortStepOptions());
    for (SequenceId id = 1; id <= num_keys; ++id) place.Add(id, absl::StrCat("key", id), 32, 4000);
    for (int step = 0; step < 20; ++step) place.Step();
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_EQ(batch->rows.size(), std::min(num_keys, kPlaces));
  }
}

// What waits finds no blocks: the decodes have the whole of a short step.
TEST(ScheduleShortSteps, WhatCannotBeginTakesNoTimeFromDecodes) {
  Place place(ShortStepOptions(), 8);
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "aggressor", 20, 40);
  place.Step();
  place.Add(50, "victim", 20, 4);
  for (SequenceId id = 100; id < 140; ++id) place.Add(id, "aggressor", 20, 40);
  for (int step = 0; step < 4; ++step) place.Step();
  int most = 0;
  for (int step = 0; step < 20; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
    if (place.schedule.counts().num_running < 8) continue;
    EXPECT_GE(SecondsOf(*batch), kShortSeconds - kRowSeconds) << step;
    ++most;
  }
  EXPECT_GT(most, 0);
}

// Each key has more than it can run: nobody comes that could begin at once.
TEST(ScheduleShortSteps, BusyKeysHaveLongOnesAndSomeAhead) {
  Place place(ShortStepOptions(1));
  SequenceId next = 1;
  for (const std::string key : {"a", "b"}) {
    for (int i = 0; i < 20; ++i) place.Add(next++, key, 32, 4000);
  }
  for (int step = 0; step < 100; ++step) place.Step();
  place.now += 11 * kSecond;
  place.Add(next++, "a", 32, 4000);
  place.Add(next++, "b", 32, 4000);
  for (int step = 0; step < 4; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value()) << "it is ordered while the one before is in flight";
    EXPECT_EQ(batch->rows.size(), kPlaces);
  }
}

}  // namespace
}  // namespace baton::scheduler
