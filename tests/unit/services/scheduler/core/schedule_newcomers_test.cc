// When newcomers that go before what is paused get their places, and what they leave to it.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {
namespace {

// One step begins its part of the newcomers and no more, whoever is paused beside them.
TEST(ScheduleNewcomers, BetterNewcomersAreSpreadOverTheSteps) {
  ScheduleOptions options = PlaceOptions(64, 0);
  options.max_steps_in_flight = 4;
  Place place(options);
  place.Add(1, "a", 8, 1000, /*weight=*/1, /*priority=*/5);
  for (int step = 0; step < 12; ++step) place.Step();
  place.schedule.Suspend(1);
  while (place.schedule.num_steps_in_flight() > 0) place.Step();
  place.schedule.Continue(1);
  for (SequenceId id = 2; id <= 9; ++id) place.Add(id, "a", 8, 1000);
  for (int step = 0; step < 4; ++step) {
    const std::optional<Batch> batch = place.schedule.NextBatch();
    ASSERT_TRUE(batch.has_value());
    const auto num_newcomers = std::count_if(batch->rows.begin(), batch->rows.end(),
                                             [](const BatchRow& row) { return row.id != 1; });
    EXPECT_EQ(num_newcomers, 2) << "step " << step;
  }
}

// The stages cannot be told of both in one step: the second one takes no place for nothing.
TEST(ScheduleNewcomers, ABetterNewcomerBeginsInAStepThatHasRoomForIt) {
  Place place(PlaceOptions(8, 0));
  place.Add(1, "a", 8, 1000, /*weight=*/1, /*priority=*/5);
  for (int step = 0; step < 3; ++step) place.Step();
  place.schedule.Suspend(1);
  place.schedule.Continue(1);
  for (SequenceId id = 2; id <= 3; ++id) {
    SequenceRequest request = MakeRequest(id, 8, 1000);
    request.fairness_key = "a";
    request.settings_bytes = kMaxToldBytes / 2 + 1;
    ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
  }
  EXPECT_TRUE(Place::RowOf(place.Step(), 2).has_value());
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
  EXPECT_TRUE(Place::RowOf(place.Step(), 3).has_value());
}

// Sequences 1 to `num_paused`, of class 5, decode; they have caught up, and are paused.
void AddPausedDecodes(Place* place, SequenceId num_paused) {
  for (SequenceId id = 1; id <= num_paused; ++id) place->Add(id, "a", 8, 1000, 1, /*priority=*/5);
  for (int step = 0; step < 3; ++step) place->Step();
  for (SequenceId id = 1; id <= num_paused; ++id) place->schedule.Suspend(id);
}
void ContinueDecodes(Place* place, SequenceId num_paused) {
  for (SequenceId id = 1; id <= num_paused; ++id) place->schedule.Continue(id);
}

ScheduleOptions LongPromptOptions(uint32_t max_running) {
  ScheduleOptions options = PlaceOptions(max_running, 0);
  options.max_model_len = 200000;
  return options;
}

// A long prompt of its class leaves a better newcomer no room for many steps: one place is kept for
// it, and who is paused goes on in the others.
TEST(ScheduleNewcomers, OnlyOnePlaceIsKeptForABetterOneThatHasNoRoomYet) {
  for (const uint32_t max_running : {64u, 4u}) {
    Place place(LongPromptOptions(max_running));
    AddPausedDecodes(&place, 3);
    place.Add(20, "a", 40000, 4);
    ASSERT_TRUE(Place::RowOf(place.Step(), 20).has_value());
    ContinueDecodes(&place, 3);
    place.Add(21, "a", 8, 4);
    const std::optional<Batch> batch = place.Step();
    EXPECT_TRUE(Place::RowOf(batch, 1).has_value()) << max_running;
    EXPECT_TRUE(Place::RowOf(batch, 2).has_value()) << max_running;
    EXPECT_EQ(place.schedule.counts().num_paused, max_running == 4 ? 1u : 0u);
    // In what is left by a chunk that ends where blocks do.
    EXPECT_TRUE(Place::RowOf(batch, 21).has_value()) << max_running;
  }
}

// What is computed behind it takes no room from it.
TEST(ScheduleNewcomers, ABetterNewcomerDoesNotWaitBehindAPromptOfAWorseClass) {
  Place place(LongPromptOptions(64));
  AddPausedDecodes(&place, 3);
  place.Add(20, "a", 40000, 4, /*weight=*/1, /*priority=*/9);
  ASSERT_TRUE(Place::RowOf(place.Step(), 20).has_value());
  ContinueDecodes(&place, 3);
  place.Add(21, "a", 8, 4);
  const std::optional<Batch> batch = place.Step();
  EXPECT_TRUE(Place::RowOf(batch, 21).has_value());
  EXPECT_TRUE(Place::RowOf(batch, 1).has_value());
}

// Better newcomers that are spread over the next steps find their places there.
TEST(ScheduleNewcomers, WhoIsPausedTakesNoPlaceOfBetterOnesOfTheNextSteps) {
  ScheduleOptions options = PlaceOptions(10, 0);
  options.max_steps_in_flight = 4;
  Place place(options);
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "a", 8, 1000, 1, /*priority=*/5);
  for (int step = 0; step < 12; ++step) place.Step();
  for (SequenceId id = 1; id <= 8; ++id) place.schedule.Suspend(id);
  while (place.schedule.num_steps_in_flight() > 0) place.Step();
  ContinueDecodes(&place, 8);
  for (SequenceId id = 11; id <= 18; ++id) place.Add(id, "a", 8, 1000);
  for (int step = 0; step < 4; ++step) {
    ASSERT_TRUE(place.schedule.NextBatch().has_value());
    EXPECT_EQ(place.schedule.counts().num_paused, 6u) << "step " << step;
  }
  EXPECT_EQ(place.schedule.counts().num_waiting, 0u);
}

}  // namespace
}  // namespace baton::scheduler
