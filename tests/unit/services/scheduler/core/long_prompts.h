// Prompts so long that what each of their chunks pays for all that stands before it matters.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "gtest/gtest.h"

#include "services/scheduler/core/prefill_policy.h"
#include "services/scheduler/core/step_cost.h"
#include "tests/unit/services/scheduler/core/short_steps.h"

namespace baton::scheduler {

inline constexpr uint32_t kStepTokens = 2048;
inline constexpr uint32_t kLongPrompt = 30'000;

// In the proportions of DeepSeek-R1's arithmetic: behind 30,000 tokens, what a chunk pays for them
// takes as long as 300 of its own.
inline StepCostOptions LongPrices() {
  return {.prior = {CostTerms{.values = {1e-3, 0, 10e-6, 1e-9, 400e-9, 1e-9, 0, 3.4e-9}}}};
}

inline ScheduleOptions LongOptions(uint32_t max_step_tokens = kStepTokens) {
  ScheduleOptions options = PlaceOptions(kPlaces, 0);
  options.max_model_len = 2 * kLongPrompt;
  options.max_step_tokens = max_step_tokens;
  options.step_cost = LongPrices();
  return options;
}

// Of one that has ended: more than of any other.
inline uint32_t NumScheduled(const Place& place, SequenceId id) {
  const Sequence* const sequence = place.schedule.Find(id);
  return sequence != nullptr ? sequence->num_scheduled() : UINT32_MAX;
}

// A prompt with `common_tokens`, as all of them begin, and some of its own.
inline void AddAlike(Place* place, SequenceId id, uint32_t own_tokens, const std::string& key = "a",
                     uint32_t common_tokens = 20'000, int32_t priority = 0) {
  SequenceRequest request = MakeRequest(500, common_tokens, 1);
  request.id = id;
  request.priority = priority;
  request.fairness_key = key;
  request.prompt.insert(request.prompt.end(), own_tokens, static_cast<TokenId>(id % 1000));
  ASSERT_TRUE(place->schedule.Add(std::move(request)).ok());
}

// The least that a chunk may have: what takes as long as the expansion, or half of the step, but
// for where a block ends.
inline double LeastTokens(const BatchRow& row, uint32_t step_tokens) {
  const double expansion = StepCost(LongPrices()).TokensOfExpansion(row.begin);
  return std::min(expansion, step_tokens / 2.0) - (kChunkMultiple - 1);
}

}  // namespace baton::scheduler
