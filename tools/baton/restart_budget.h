// How often a process may die before starting it again makes no sense, and how long to wait first.
#pragma once

#include <deque>
#include <optional>

#include "absl/time/time.h"

namespace baton {

struct RestartLimits {
  int max_deaths = 10;                        // within `window`; one more and it stays dead
  absl::Duration window = absl::Seconds(60);  // sliding
  absl::Duration short_life = absl::Milliseconds(500);  // shorter ones, in a row, are a crash loop
  absl::Duration first_pause = absl::Milliseconds(100);
  absl::Duration longest_pause = absl::Seconds(5);
};

// Of one process. Not thread-safe.
class RestartBudget final {
 public:
  explicit RestartBudget(RestartLimits limits) : limits_(limits) {}

  // It was started at `now`.
  void Started(absl::Time now) { started_ = now; }
  // It died at `now`. When to start it again: at once, or, after the second short life in a row and
  // each further one, after a pause that doubles. nullopt: it has died too often.
  std::optional<absl::Time> Died(absl::Time now);

 private:
  const RestartLimits limits_;
  absl::Time started_ = absl::InfinitePast();
  std::deque<absl::Time> deaths_;  // within the window, oldest first
  int num_short_lives_ = 0;        // in a row
};

}  // namespace baton
