// Leave to hold bytes in memory: who reads ahead takes some first and gives it back when the bytes
// have gone.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"

namespace baton::loader {

// Any thread. What was taken may outlive the budget.
class ByteBudget final {
 public:
  // Given back when the last reference goes.
  using Leave = std::shared_ptr<const void>;

  explicit ByteBudget(uint64_t limit_bytes);

  // Waits until `bytes` fit under the limit beside what is out, or nothing is out (more than the
  // limit goes alone). Null if that was not so by `deadline`, of SteadyNow(), or after Cancel.
  Leave Take(uint64_t bytes, absl::Time deadline);
  // Every Take returns null from now on.
  void Cancel();

  uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  struct Out {
    SteadyMutex mutex;
    uint64_t bytes ABSL_GUARDED_BY(mutex) = 0;
    bool cancelled ABSL_GUARDED_BY(mutex) = false;
  };
  const uint64_t limit_bytes_;
  const std::shared_ptr<Out> out_;
};

}  // namespace baton::loader
