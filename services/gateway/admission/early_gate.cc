#include "services/gateway/admission/early_gate.h"

#include <algorithm>

#include "absl/random/distributions.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kClosedForUrl = "baton/closed-for-us";
// Callers that are refused together are told to come back at different times.
constexpr double kSpread = 0.1;
// As in the scheduler's own answers: official clients ignore more.
constexpr absl::Duration kLeastRetry = absl::Seconds(1);
constexpr absl::Duration kMostRetry = absl::Seconds(60);
constexpr std::chrono::seconds kSweepPause(1);

}  // namespace

std::optional<absl::Duration> ClosedFor(const absl::Status& status) {
  const auto payload = status.GetPayload(kClosedForUrl);
  int64_t microseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &microseconds)) {
    return std::nullopt;
  }
  return absl::Microseconds(microseconds);
}

absl::Status WithClosedFor(absl::Status status, absl::Duration time) {
  status.SetPayload(kClosedForUrl, absl::Cord(absl::StrCat(absl::ToInt64Microseconds(time))));
  return status;
}

absl::Status EarlyGate::Check(const std::string& caller, int32_t priority, Time now) {
  if (closed_.empty()) return absl::OkStatus();
  const auto found = closed_.find(caller);
  if (found == closed_.end()) return absl::OkStatus();
  const Closed& closed = found->second;
  if (now >= closed.until) {
    closed_.erase(found);
    return absl::OkStatus();
  }
  if (priority < closed.priority) return absl::OkStatus();
  const std::optional<absl::Duration> retry = RetryAfter(closed.refusal);
  if (!retry.has_value()) return closed.refusal;
  const double factor = absl::Uniform(random_, 1 - kSpread, 1 + kSpread);
  return WithRetryAfter(closed.refusal, std::clamp(*retry * factor, kLeastRetry, kMostRetry));
}

void EarlyGate::Learn(const std::string& caller, int32_t priority, const absl::Status& refusal,
                      Time now) {
  const absl::Duration time = std::min(bound_, ClosedFor(refusal).value_or(absl::ZeroDuration()));
  if (time <= absl::ZeroDuration()) return;
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepPause;
    std::erase_if(closed_, [now](const auto& entry) { return now >= entry.second.until; });
  }
  Closed& closed = closed_[caller];
  // One that is closed for better requests is closed for these.
  if (now < closed.until && closed.priority < priority) return;
  closed = {now + absl::ToChronoNanoseconds(time), priority, refusal};
}

}  // namespace baton::gateway
