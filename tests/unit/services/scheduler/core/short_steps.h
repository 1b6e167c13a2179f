// A group whose steps are short while a request of a key within its share may come.
#pragma once

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/step_cost.h"
#include "services/scheduler/core/step_work.h"
#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {

inline constexpr uint32_t kPlaces = 16;
// 7/16 of what the first token of a prompt of 32 takes alone, less than 5 ms.
inline constexpr double kShortSeconds = 0.4375 * 11.1e-3;
inline constexpr double kRowSeconds = 0.8e-3;

// Prices that no measurement moves, because none comes: in milliseconds, a step 1, a token 0.3, a
// token that samples 0.5 more.
inline StepCostOptions Prices(double decode_position = 1e-9) {
  return {.prior = {CostTerms{.values = {1e-3, 0, 0.3e-3, decode_position, 1e-9, 0, 0.5e-3}}}};
}

inline ScheduleOptions ShortStepOptions(uint32_t lookahead = 0) {
  ScheduleOptions options = PlaceOptions(kPlaces, lookahead);
  options.step_cost = Prices();
  options.prefix_caching = false;
  return options;
}

inline double SecondsOf(const Batch& batch, const StepCostOptions& prices = Prices()) {
  StepWork work;
  for (const BatchRow& row : batch.rows) AddWork(row, &work);
  return StepCost(prices).Seconds(work);
}

// A request of another key comes, and is answered.
inline void VictimComesAndGoes(Place* place) {
  place->Add(50, "victim", 32, 1);
  for (int step = 0; step < 1000 && place->ended.empty(); ++step) place->Step();
  ASSERT_EQ(place->ended, std::vector<SequenceId>{50});
}

// All places are the aggressor's, and decode; a victim has come and gone.
inline void Fill(Place* place, uint32_t num_more) {
  for (SequenceId id = 1; id <= kPlaces; ++id) place->Add(id, "aggressor", 32, 4000);
  place->Step();
  for (SequenceId id = 100; id < 100 + num_more; ++id) place->Add(id, "aggressor", 32, 4000);
  VictimComesAndGoes(place);
}

}  // namespace baton::scheduler
