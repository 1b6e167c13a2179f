// The time that a watcher was awake for. Silence counts against others only in it: a machine that
// stands still, with the watcher on it, makes nobody hang.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace baton {

// Of a loop that says how long each of its turns is to take at most. What one takes beyond that
// does not pass on this clock; so a standstill counts for no more than one turn as planned,
// wherever in the turn it begins.
class AwakeClock final {
 public:
  explicit AwakeClock(absl::Time now) : now_(now), last_turn_(now) {}

  // A turn ends at `now`, of the steady clock, that was to take `planned` at most.
  void EndTurn(absl::Time now, absl::Duration planned) {
    now_ += std::clamp(now - last_turn_, absl::ZeroDuration(), planned);
    last_turn_ = now;
  }
  absl::Time now() const { return now_; }

 private:
  absl::Time now_;
  absl::Time last_turn_;
};

}  // namespace baton
