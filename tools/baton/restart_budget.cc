#include "tools/baton/restart_budget.h"

#include <algorithm>

namespace baton {

std::optional<absl::Time> RestartBudget::Died(absl::Time now) {
  while (!deaths_.empty() && deaths_.front() <= now - limits_.window) deaths_.pop_front();
  deaths_.push_back(now);
  // The oldest need not be kept once there are too many.
  if (deaths_.size() > static_cast<size_t>(limits_.max_deaths)) return std::nullopt;
  const bool was_short = now - started_ < limits_.short_life;
  num_short_lives_ = was_short ? num_short_lives_ + 1 : 0;
  if (num_short_lives_ < 2) return now;
  absl::Duration pause = limits_.first_pause;
  for (int i = 2; i < num_short_lives_ && pause < limits_.longest_pause; ++i) pause *= 2;
  return now + std::min(pause, limits_.longest_pause);
}

}  // namespace baton
