#include "common/concurrency/steady_time.h"

#include "absl/time/clock.h"

namespace baton {
namespace {

using Clock = std::chrono::steady_clock;

// Beyond it a wait has no end that anybody sees; the clock's own range is some 290 years.
constexpr absl::Duration kFar = absl::Hours(24 * 365);

// The same moment in both ways to say it.
struct Origin {
  absl::Time time = absl::Now();
  Clock::time_point tick = Clock::now();
};

const Origin& GetOrigin() {
  static const Origin origin;
  return origin;
}

}  // namespace

absl::Time SteadyNow() {
  const Origin& origin = GetOrigin();
  return origin.time + absl::FromChrono(Clock::now() - origin.tick);
}

Clock::time_point ToSteadyClock(absl::Time time) {
  const Origin& origin = GetOrigin();
  const absl::Duration since = time - origin.time;
  if (since > kFar) return Clock::time_point::max();
  if (since < -kFar) return Clock::time_point::min();
  return origin.tick + absl::ToChronoNanoseconds(since);
}

}  // namespace baton
