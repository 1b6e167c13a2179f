// How long a sequence of a story may go without a token computed that was not before.
#pragma once

#include <cstdint>

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// Others end meanwhile and free their blocks.
inline constexpr uint64_t kPatience = 1000;
// Beside what is refilled: in a small cache each turn waits until blocks are free.
inline constexpr uint64_t kPatienceBesideRefill = 8000;
// There it waits for no more turns of a class than these, either: each is for one sequence.
inline constexpr TimeUs kMostTurns = 100;
// All of these together take no longer than that, besides the aging of each.
inline constexpr TimeUs kTimeOfTurns = 60'000'000;

// Steps of a story: what is computed anew again and again would never end beside what is refilled.
inline constexpr uint64_t kMostSteps = 100'000;

// Whether the oldest sequence may have waited so many steps and so long.
inline bool IsBearable(bool refills, TimeUs priority_aging, uint64_t num_steps, TimeUs time) {
  if (!refills) return num_steps <= kPatience;
  return num_steps <= kPatienceBesideRefill && time <= kMostTurns * priority_aging + kTimeOfTurns;
}

}  // namespace baton::scheduler
