// The clock of the step loop. It never jumps, whatever happens to the time of day.
#pragma once

#include <chrono>

#include "absl/time/time.h"

#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

using MonotonicTime = std::chrono::steady_clock::time_point;

inline MonotonicTime operator+(MonotonicTime time, absl::Duration duration) {
  return time + absl::ToChronoNanoseconds(duration);
}

// As the core counts time; the end of time is kNever.
inline TimeUs ToCoreTime(MonotonicTime time) {
  if (time == MonotonicTime::max()) return kNever;
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

inline absl::Duration ElapsedSince(MonotonicTime begin, MonotonicTime now) {
  return absl::FromChrono(now - begin);
}

}  // namespace baton::scheduler
