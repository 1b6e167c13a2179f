// Time as the core sees it: handed in by its caller, who owns a clock.
#pragma once

#include <cstdint>
#include <limits>

namespace baton::scheduler {

// Microseconds since an origin that the caller chose; also a length of time. Never goes back.
using TimeUs = int64_t;

inline constexpr TimeUs kNever = std::numeric_limits<TimeUs>::max();

}  // namespace baton::scheduler
