#include "services/gateway/http/write_pace.h"

#include "absl/time/time.h"

namespace baton::gateway {

WritePace::TimePoint WritePace::Begin(TimePoint now, std::optional<uint64_t> num_acknowledged) {
  begin_acknowledged_ = num_acknowledged;
  return now + absl::ToChronoNanoseconds(limits_.write_timeout);
}

std::optional<WritePace::TimePoint> WritePace::Continue(TimePoint now,
                                                        std::optional<uint64_t> num_acknowledged) {
  if (!begin_acknowledged_ || !num_acknowledged ||
      *num_acknowledged < *begin_acknowledged_ + limits_.write_window_bytes) {
    return std::nullopt;
  }
  return Begin(now, num_acknowledged);
}

}  // namespace baton::gateway
