#include "services/gateway/admission/request_slots.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kOverloadRetry = absl::Seconds(1);
constexpr absl::Duration kDrainRetry = absl::Seconds(5);

absl::Status Draining() {
  return WithRetryAfter(
      WithReason(absl::UnavailableError("the gateway is shutting down"), "server_is_draining"),
      kDrainRetry);
}

}  // namespace

absl::StatusOr<RequestSlots::Slot> RequestSlots::Acquire(const std::string& caller) {
  absl::MutexLock lock(&mutex_);
  if (draining_) return Draining();
  if (absl::Status taken = TakeLocked(caller, 1); !taken.ok()) return taken;
  return Slot(this, caller);
}

absl::Status RequestSlots::Slot::Extend(size_t num_sequences) {
  if (num_sequences <= num_places_) return absl::OkStatus();
  const size_t most = owner_->per_caller_ > 0 ? std::min(owner_->per_caller_, owner_->capacity_)
                                              : owner_->capacity_;
  if (num_sequences > most) {
    return InvalidField(
        "n", absl::StrCat("makes ", num_sequences,
                          " sequences of this request, the gateway runs at most ", most,
                          " at a time", most < owner_->capacity_ ? " for one API key" : ""));
  }
  if (absl::Status taken = owner_->Take(caller_, num_sequences - num_places_); !taken.ok()) {
    return taken;
  }
  num_places_ = num_sequences;
  return absl::OkStatus();
}

absl::Status RequestSlots::Overloaded() const {
  return WithRetryAfter(WithReason(absl::UnavailableError(absl::StrCat(
                                       "not enough of the ", capacity_,
                                       " sequence slots of the gateway are free for this request")),
                                   "server_is_overloaded"),
                        kOverloadRetry);
}

absl::Status RequestSlots::AtLimit() const {
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError(absl::StrCat(
                     "this API key has ", per_caller_,
                     " sequences running or waiting already, the most that one key may have")),
                 kRateLimitExceeded),
      kOverloadRetry);
}

// A request that was admitted before the drain may grow during it.
absl::Status RequestSlots::Take(const std::string& caller, size_t count) {
  absl::MutexLock lock(&mutex_);
  return TakeLocked(caller, count);
}

absl::Status RequestSlots::TakeLocked(const std::string& caller, size_t count) {
  if (per_caller_ > 0) {
    const auto found = taken_by_.find(caller);
    if ((found == taken_by_.end() ? 0 : found->second) + count > per_caller_) return AtLimit();
  }
  if (count > capacity_ - num_taken_) return Overloaded();
  if (per_caller_ > 0) taken_by_[caller] += count;
  num_taken_ += count;
  return absl::OkStatus();
}

absl::Status RequestSlots::CheckOpen() const {
  absl::MutexLock lock(&mutex_);
  return draining_ ? Draining() : absl::OkStatus();
}

void RequestSlots::Drain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

bool RequestSlots::AwaitIdle(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(this, &RequestSlots::Idle), deadline);
}

size_t RequestSlots::num_taken() const {
  absl::MutexLock lock(&mutex_);
  return num_taken_;
}

void RequestSlots::Release(const std::string& caller, size_t count) {
  absl::MutexLock lock(&mutex_);
  num_taken_ -= count;
  if (per_caller_ == 0) return;
  const auto found = taken_by_.find(caller);
  found->second -= count;
  if (found->second == 0) taken_by_.erase(found);
}

}  // namespace baton::gateway
