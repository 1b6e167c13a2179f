// Times that no change of the time of day moves: what deadlines, silences and pauses are made of.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace baton {

// The time of day at which this process first asked, and what the steady clock has counted since.
// Use it in place of absl::Now() wherever only the distance of two moments matters; absl::Now() is
// for dates that people read, and for deadlines of gRPC, which speaks of the time of day. Any
// thread.
absl::Time SteadyNow();

// The moment `time`, of SteadyNow(), of the clock that waits are given; far ones are its end.
std::chrono::steady_clock::time_point ToSteadyClock(absl::Time time);

}  // namespace baton
