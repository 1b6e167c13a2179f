#include "services/gateway/http/body_pace.h"

#include <algorithm>

namespace baton::gateway {

BodyPace::TimePoint BodyPace::Begin(TimePoint now) {
  deadline_ = now + absl::ToChronoNanoseconds(limits_.body_timeout);
  window_end_ = std::min(deadline_, now + absl::ToChronoNanoseconds(limits_.body_window));
  window_begin_bytes_ = 0;
  return window_end_;
}

std::optional<BodyPace::TimePoint> BodyPace::Continue(TimePoint now, size_t num_bytes) {
  if (IsOver(now)) return std::nullopt;
  const auto window = absl::ToChronoNanoseconds(limits_.body_window);
  // A loop that was held up has not read what came meanwhile.
  const bool held_up = now - window_end_ > window / 2;
  const double num_wanted = static_cast<double>(limits_.body_bytes_per_second) *
                            absl::ToDoubleSeconds(limits_.body_window);
  const bool fast = static_cast<double>(num_bytes - window_begin_bytes_) >= num_wanted;
  if (!fast && !held_up) return std::nullopt;
  window_end_ = std::min(deadline_, now + window);
  window_begin_bytes_ = num_bytes;
  return window_end_;
}

}  // namespace baton::gateway
