// An executor whose work runs when the test says so, on the test's own thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Post from any thread; the rest belongs to the test's thread.
class HeldExecutor final : public Executor {
 public:
  void Post(std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    work_.push_back(std::move(work));
  }
  void PostAfter(absl::Duration delay, std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    delayed_.emplace_back(delay, std::move(work));
  }

  // Runs the work so far that was to wait for no more than `delay`, however long it has waited;
  // what it posts waits for the next call. How much that was.
  size_t RunDelayed(absl::Duration delay) {
    std::vector<std::function<void()>> due;
    {
      absl::MutexLock lock(&mutex_);
      std::erase_if(delayed_, [&](auto& entry) {
        if (entry.first > delay) return false;
        due.push_back(std::move(entry.second));
        return true;
      });
    }
    for (const auto& work : due) work();
    return due.size();
  }

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

  // Waits until at least `count` pieces of work wait; false if they do not within the timeout.
  bool AwaitHeld(size_t count, absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return work_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), timeout);
  }

  size_t num_held() const {
    absl::MutexLock lock(&mutex_);
    return work_.size();
  }

 private:
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !work_.empty(); }

  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> work_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<absl::Duration, std::function<void()>>> delayed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
