// What a refusal says besides when to try again: for how long even the smallest newcomer of the
// same key, of no better priority, is expected to be refused. A gateway need not ask before. It
// travels in the status as a payload, and leaves as trailing metadata "closed-for-us".
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace baton::scheduler {

inline constexpr char kClosedForUrl[] = "baton/closed-for-us";

inline absl::Status WithClosedFor(absl::Status status, absl::Duration time) {
  status.SetPayload(kClosedForUrl, absl::Cord(absl::StrCat(absl::ToInt64Microseconds(time))));
  return status;
}

// 0 if the status does not say.
inline absl::Duration ClosedFor(const absl::Status& status) {
  const auto payload = status.GetPayload(kClosedForUrl);
  int64_t microseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &microseconds)) {
    return absl::ZeroDuration();
  }
  return absl::Microseconds(microseconds);
}

}  // namespace baton::scheduler
