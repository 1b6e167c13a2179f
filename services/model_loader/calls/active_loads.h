// The loads under way: how many may run, and how they end when the server drains.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "services/model_loader/transfer/slice_transfer.h"

namespace baton::loader {

// Any thread.
class ActiveLoads final {
 public:
  explicit ActiveLoads(size_t max_loads) : max_loads_(max_loads) {}

  // Counts a load in. ResourceExhausted if too many run, Unavailable once the server drains.
  absl::Status Enter();
  void Leave();

  // `transfer` runs until Detach and is cancelled at the deadline of Drain; at once if that has
  // passed.
  void Attach(SliceTransfer* transfer);
  void Detach(SliceTransfer* transfer);

  // Refuses new loads and waits until none is left: true; or until `deadline`, when those that are
  // left are cancelled: false.
  bool Drain(absl::Time deadline);

 private:
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_loads_ == 0; }

  const size_t max_loads_;
  SteadyMutex mutex_;
  size_t num_loads_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<SliceTransfer*> transfers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::loader
