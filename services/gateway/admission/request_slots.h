// How many generation sequences are live, and whether more may start.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"

namespace baton::gateway {

// Who comes first is served first, but no key has them all: an eighth of the slots is kept for keys
// that have no more than would be their share if one key more came, and of that eighth such a key
// leaves one part of (keys + 1), which keys with none have their first place of. Requests of
// nobody's key may have all. Meant to be more than the scheduler runs and lets wait, so that who
// waits, and who is refused, is decided there, where keys have their shares.
//
// Shared by HTTP and gRPC. Any thread.
class RequestSlots {
 public:
  // The places of one live request, one per sequence; gives them back when destroyed.
  class Slot {
   public:
    Slot(Slot&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          caller_(std::move(other.caller_)),
          most_(other.most_),
          num_places_(other.num_places_) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (owner_ != nullptr) owner_->Release(caller_, num_places_);
    }

    // Takes places for `num_sequences` in place of the one that Acquire took. Errors: as Acquire,
    // but for the drain; InvalidArgument when they could never be had.
    absl::Status Extend(size_t num_sequences);

   private:
    friend class RequestSlots;
    Slot(RequestSlots* owner, std::string caller, size_t most)
        : owner_(owner), caller_(std::move(caller)), most_(most) {}
    RequestSlots* owner_;
    std::string caller_;
    size_t most_;  // places of the caller
    size_t num_places_ = 1;
  };

  explicit RequestSlots(size_t capacity) : capacity_(capacity) {}

  // One place for `caller`, who may have `most`; 0: no bound. Errors, with RetryAfter: Unavailable
  // when all are taken but those for others (reason "server_is_overloaded") or the service drains
  // (reason "server_is_draining"); ResourceExhausted when the caller has all that it may have
  // (reason "rate_limit_exceeded"). Refusals for lack of places name times of 1 to 3 s: when one is
  // free is the sequences' affair.
  absl::StatusOr<Slot> Acquire(const std::string& caller = "", size_t most = 0)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // OK unless the service drains; else what Acquire would say.
  absl::Status CheckOpen() const ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on every Acquire is refused.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until no slot is taken; false at the deadline.
  bool AwaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  size_t num_taken() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Places that `caller` can ever have.
  size_t MostOf(const std::string& caller) const;
  absl::Status Overloaded() const;
  size_t KeptLocked(const std::string& caller, size_t taken, size_t count) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Take(const std::string& caller, size_t most, size_t count)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status TakeLocked(const std::string& caller, size_t most, size_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(const std::string& caller, size_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Idle() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return num_taken_ == 0; }

  const size_t capacity_;
  mutable SteadyMutex mutex_;
  size_t num_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, size_t> taken_by_ ABSL_GUARDED_BY(mutex_);  // callers with places
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::gateway
