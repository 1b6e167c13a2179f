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
  if (num_taken_ >= capacity_) return Overloaded();
  ++num_taken_;
  return Slot(this);
}

absl::Status RequestSlots::Slot::Extend(size_t num_sequences) {
  if (num_sequences <= num_places_) return absl::OkStatus();
  if (num_sequences > owner_->capacity_) {
    return InvalidField("n", absl::StrCat("makes ", num_sequences,
                                          " sequences of this request, the gateway runs at most ",
                                          owner_->capacity_, " at a time"));
  }
  if (absl::Status taken = owner_->Take(num_sequences - num_places_); !taken.ok()) return taken;
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

// A request that was admitted before the drain may grow during it.
absl::Status RequestSlots::Take(size_t count) {
  absl::MutexLock lock(&mutex_);
  if (count > capacity_ - num_taken_) return Overloaded();
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

void RequestSlots::Release(size_t count) {
  absl::MutexLock lock(&mutex_);
  num_taken_ -= count;
}

}  // namespace baton::gateway
