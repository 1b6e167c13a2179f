#include "services/gateway/admission/request_slots.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Whoever is refused is told to come back after so long at least.
constexpr absl::Duration kOverloadRetry = absl::Seconds(1);
// This part of the slots is for keys with few of them.
constexpr size_t kKeptParts = 8;
constexpr absl::Duration kDrainRetry = absl::Seconds(5);

absl::Status AtLimit(size_t most) {
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError(absl::StrCat(
                     "this API key has ", most,
                     " sequences running or waiting already, the most that one key may have")),
                 kRateLimitExceeded),
      SpreadRetry(kOverloadRetry));
}

absl::Status Draining() {
  return WithRetryAfter(
      WithReason(absl::UnavailableError("the gateway is shutting down"), "server_is_draining"),
      SpreadRetry(kDrainRetry));
}

}  // namespace

absl::StatusOr<RequestSlots::Slot> RequestSlots::Acquire(const std::string& caller, size_t most) {
  SteadyMutexLock lock(&mutex_);
  if (draining_) return Draining();
  if (most == 0) most = capacity_;
  if (absl::Status taken = TakeLocked(caller, most, 1); !taken.ok()) return taken;
  return Slot(this, caller, most);
}

absl::Status RequestSlots::Slot::Extend(size_t num_sequences) {
  if (num_sequences <= num_places_) return absl::OkStatus();
  const size_t most = std::min(most_, owner_->MostOf(caller_));
  if (num_sequences > most) {
    return InvalidField(
        "n", absl::StrCat("makes ", num_sequences,
                          " sequences of this request, the gateway runs at most ", most,
                          " at a time", most < owner_->capacity_ ? " for one API key" : ""));
  }
  if (absl::Status taken = owner_->Take(caller_, most_, num_sequences - num_places_); !taken.ok()) {
    return taken;
  }
  num_places_ = num_sequences;
  return absl::OkStatus();
}

size_t RequestSlots::MostOf(const std::string& caller) const {
  return caller.empty() ? capacity_ : capacity_ - capacity_ / kKeptParts;
}

absl::Status RequestSlots::Overloaded() const {
  return WithRetryAfter(WithReason(absl::UnavailableError(absl::StrCat(
                                       "not enough of the ", capacity_,
                                       " sequence slots of the gateway are free for this request")),
                                   kServerIsOverloaded),
                        SpreadRetry(kOverloadRetry));
}

// What is to stay free for other keys, once `caller` has `count` more than the `taken` it has. A
// key with more than its share leaves all that is kept; one within it leaves a part, smaller with
// each key, so that a second one that floods does not lock out a third; the first place of a key is
// always its own.
size_t RequestSlots::KeptLocked(const std::string& caller, size_t taken, size_t count) const {
  const size_t kept = capacity_ / kKeptParts;
  if (caller.empty() || taken + count <= 1) return 0;
  const size_t num_callers = taken_by_.size() + (taken == 0 ? 1 : 0);
  // Each key's share if one more came.
  const size_t share = capacity_ / (num_callers + 1);
  return taken + count <= share ? kept / (num_callers + 1) : kept;
}

// A request that was admitted before the drain may grow during it.
absl::Status RequestSlots::Take(const std::string& caller, size_t most, size_t count) {
  SteadyMutexLock lock(&mutex_);
  return TakeLocked(caller, most, count);
}

absl::Status RequestSlots::TakeLocked(const std::string& caller, size_t most, size_t count) {
  const auto found = taken_by_.find(caller);
  const size_t taken = found == taken_by_.end() ? 0 : found->second;
  if (most < capacity_ && taken + count > most) return AtLimit(most);
  const size_t num_free = capacity_ - num_taken_;
  if (count + KeptLocked(caller, taken, count) > num_free) return Overloaded();
  taken_by_[caller] += count;
  num_taken_ += count;
  return absl::OkStatus();
}

absl::Status RequestSlots::CheckOpen() const {
  SteadyMutexLock lock(&mutex_);
  return draining_ ? Draining() : absl::OkStatus();
}

void RequestSlots::Drain() {
  SteadyMutexLock lock(&mutex_);
  draining_ = true;
}

bool RequestSlots::AwaitIdle(absl::Time deadline) {
  SteadyMutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(this, &RequestSlots::Idle), deadline);
}

size_t RequestSlots::num_taken() const {
  SteadyMutexLock lock(&mutex_);
  return num_taken_;
}

void RequestSlots::Release(const std::string& caller, size_t count) {
  SteadyMutexLock lock(&mutex_);
  num_taken_ -= count;
  const auto found = taken_by_.find(caller);
  found->second -= count;
  if (found->second == 0) taken_by_.erase(found);
}

}  // namespace baton::gateway
