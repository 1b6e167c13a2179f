// Since when somebody has work and finishes none of it.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton::stage {

// Any thread.
class WorkClock final {
 public:
  // One more piece of work is there; one is finished; all that is left is dropped.
  void Add(absl::Time now) {
    const absl::MutexLock lock(&mutex_);
    if (num_open_++ == 0) since_ = now;
  }
  void Finish(absl::Time now) {
    const absl::MutexLock lock(&mutex_);
    if (num_open_ > 0) --num_open_;
    since_ = now;
  }
  void Clear() {
    const absl::MutexLock lock(&mutex_);
    num_open_ = 0;
  }

  // Zero while there is no work.
  absl::Duration without_progress(absl::Time now) const {
    const absl::MutexLock lock(&mutex_);
    return num_open_ == 0 ? absl::ZeroDuration() : now - since_;
  }

 private:
  mutable absl::Mutex mutex_;
  uint32_t num_open_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
