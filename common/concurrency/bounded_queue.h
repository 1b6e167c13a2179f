// A first-in first-out queue between threads with a bound and an end.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"

namespace baton {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // False, and `value` is dropped, if the queue is full or closed.
  bool TryPush(T value) ABSL_LOCKS_EXCLUDED(mutex_) {
    SteadyMutexLock lock(&mutex_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    return true;
  }

  // Waits until `deadline`, of SteadyNow(), for an item; nullopt at the deadline, or once the queue
  // is closed and empty.
  std::optional<T> Pop(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_) {
    SteadyMutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(this, &BoundedQueue::HasItemOrClosed), deadline);
    if (items_.empty()) return std::nullopt;
    T value = std::move(items_.front());
    items_.pop_front();
    return value;
  }

  // No more pushes; waiting and later Pops drain what is there.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    SteadyMutexLock lock(&mutex_);
    closed_ = true;
  }

  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_) {
    SteadyMutexLock lock(&mutex_);
    return items_.size();
  }
  bool closed() const ABSL_LOCKS_EXCLUDED(mutex_) {
    SteadyMutexLock lock(&mutex_);
    return closed_;
  }

 private:
  bool HasItemOrClosed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || !items_.empty();
  }

  const size_t capacity_;
  mutable SteadyMutex mutex_;
  std::deque<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton
