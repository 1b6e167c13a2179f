// How long the server waits for a request's body.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

#include "services/gateway/http/http_limits.h"

namespace baton::gateway {

// Cuts a body's time into windows, in each of which enough of it has to come. One per connection.
class BodyPace final {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `limits` must outlive this.
  explicit BodyPace(const HttpLimits& limits) : limits_(limits) {}

  // The header is complete. Returns when the first window ends.
  TimePoint Begin(TimePoint now);
  // The window has ended, and `num_bytes` of the body have come so far. Returns when the next one
  // ends; nullopt: the body's time is over, or too little of it came.
  std::optional<TimePoint> Continue(TimePoint now, size_t num_bytes);
  // Whether it is the body's time that is over.
  bool IsOver(TimePoint now) const { return now >= deadline_; }

 private:
  const HttpLimits& limits_;
  TimePoint deadline_;  // of the whole body
  TimePoint window_end_;
  size_t window_begin_bytes_ = 0;  // what had come when the window began
};

}  // namespace baton::gateway
