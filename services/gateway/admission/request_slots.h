// How many generation sequences are live, and whether more may start.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton::gateway {

// Shared by HTTP and gRPC. Any thread.
class RequestSlots {
 public:
  // The places of one live request, one per sequence; gives them back when destroyed.
  class Slot {
   public:
    Slot(Slot&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), num_places_(other.num_places_) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (owner_ != nullptr) owner_->Release(num_places_);
    }

    // Takes places for `num_sequences` in place of the one that Acquire took. Errors: Unavailable
    // as Acquire; InvalidArgument when they could never be had.
    absl::Status Extend(size_t num_sequences);

   private:
    friend class RequestSlots;
    explicit Slot(RequestSlots* owner) : owner_(owner) {}
    RequestSlots* owner_;
    size_t num_places_ = 1;
  };

  explicit RequestSlots(size_t capacity) : capacity_(capacity) {}

  // One place. Errors: Unavailable with RetryAfter when all are taken (reason
  // "server_is_overloaded") or the service drains (reason "server_is_draining").
  absl::StatusOr<Slot> Acquire() ABSL_LOCKS_EXCLUDED(mutex_);

  // OK unless the service drains; else what Acquire would say.
  absl::Status CheckOpen() const ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on every Acquire is refused.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until no slot is taken; false at the deadline.
  bool AwaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  size_t num_taken() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status Overloaded() const;
  absl::Status Take(size_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  void Release(size_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Idle() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return num_taken_ == 0; }

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  size_t num_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::gateway
