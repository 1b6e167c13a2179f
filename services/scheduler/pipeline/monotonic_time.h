// The clock of the step loop. It never jumps, whatever happens to the time of day.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace baton::scheduler {

using MonotonicTime = std::chrono::steady_clock::time_point;

inline MonotonicTime operator+(MonotonicTime time, absl::Duration duration) {
  return time + absl::ToChronoNanoseconds(duration);
}

inline absl::Duration ElapsedSince(MonotonicTime begin, MonotonicTime now) {
  return absl::FromChrono(now - begin);
}

}  // namespace baton::scheduler
