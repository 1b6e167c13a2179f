// How long the server waits for a client that takes its answer slowly.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "services/gateway/http/http_limits.h"

namespace baton::gateway {

// While bytes wait for the client, it has to confirm enough of what it was sent in each window of
// HttpLimits::write_timeout. The kernel asks for more only when half of what it holds has gone,
// which a slow client may take minutes for; what counts is therefore what the client's kernel has
// confirmed. One per connection.
class WritePace final {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `limits` must outlive this.
  explicit WritePace(const HttpLimits& limits) : limits_(limits) {}

  // Bytes wait; the client has confirmed `num_acknowledged` of the connection's so far (nullopt:
  // not known). Returns when the window ends.
  TimePoint Begin(TimePoint now, std::optional<uint64_t> num_acknowledged);
  // The window has ended, and bytes wait still. Returns when the next one ends; nullopt: the client
  // took too little.
  std::optional<TimePoint> Continue(TimePoint now, std::optional<uint64_t> num_acknowledged);

 private:
  const HttpLimits& limits_;
  std::optional<uint64_t> begin_acknowledged_;  // when the window began
};

}  // namespace baton::gateway
