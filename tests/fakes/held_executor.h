// An executor whose work runs when the test says so, on the test's own thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Post from any thread; the rest belongs to the test's thread. Delayed work is never due.
class HeldExecutor final : public Executor {
 public:
  void Post(std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    work_.push_back(std::move(work));
  }
  void PostAfter(absl::Duration, std::function<void()>) override {}

  // Runs the oldest work; false if there is none within the timeout.
  bool RunOne(absl::Duration timeout = absl::ZeroDuration()) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      if (!mutex_.AwaitWithTimeout(absl::Condition(this, &HeldExecutor::HasWork), timeout)) {
        return false;
      }
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
    return true;
  }

  size_t num_held() const {
    absl::MutexLock lock(&mutex_);
    return work_.size();
  }

 private:
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !work_.empty(); }

  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> work_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
