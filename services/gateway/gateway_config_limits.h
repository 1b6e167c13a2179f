// The part of the command line that says what a request and a connection may cost.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/admission/request_caps.h"
#include "services/gateway/http/http_limits.h"

namespace baton::gateway {

// Flags after ParseCommandLine. Errors: InvalidArgument naming the flag, its value and what it may
// be; so below.
absl::StatusOr<RequestCaps> ReadRequestCaps();
absl::StatusOr<HttpLimits> ReadHttpLimits();

// `low` to `high`, both inclusive. `flag`: "max-n".
absl::Status CheckRange(absl::string_view flag, int64_t value, int64_t low, int64_t high);

// A year: what is added to a moment of a clock must not pass its end, as what is infinite would.
inline constexpr absl::Duration kMostTime = absl::Hours(24 * 365);
enum class LeastTime { kZero, kMoreThanZero };
// Up to kMostTime.
absl::Status CheckTime(absl::string_view flag, absl::Duration value, LeastTime least);

}  // namespace baton::gateway
