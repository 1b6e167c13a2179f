#include "services/gateway/admission/request_slots.h"

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

absl::StatusOr<RequestSlots::Slot> RequestSlots::Acquire() {
  absl::MutexLock lock(&mutex_);
  if (draining_) return Draining();
  if (num_taken_ >= capacity_) {
    return WithRetryAfter(
        WithReason(absl::UnavailableError(
                       absl::StrCat("all ", capacity_, " request slots of the gateway are taken")),
                   "server_is_overloaded"),
        kOverloadRetry);
  }
  ++num_taken_;
  return Slot(this);
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

void RequestSlots::Release() {
  absl::MutexLock lock(&mutex_);
  --num_taken_;
}

}  // namespace baton::gateway
