// Locks and notifications whose timed waits follow the steady clock.
//
// Those of Abseil wait for a moment of the time of day: they hand the kernel CLOCK_REALTIME. If
// that is set back by an hour while a thread waits for 200 ms, the wait takes an hour and 200 ms;
// heartbeats stay away, steps are not formed, drains do not end. Where a thread waits for no longer
// than some time, use these; a plain absl::Mutex elsewhere.
#pragma once

#include <condition_variable>
#include <list>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton {

// As absl::Mutex: whoever unlocks looks whether what others await has become true. A condition is
// evaluated with the lock held, by any thread; it may not wait, nor touch this lock.
class ABSL_LOCKABLE SteadyMutex final {
 public:
  SteadyMutex() = default;
  SteadyMutex(const SteadyMutex&) = delete;
  SteadyMutex& operator=(const SteadyMutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION();
  void Unlock() ABSL_UNLOCK_FUNCTION();

  // Gives up the lock until `condition` is true and has it again then.
  void Await(const absl::Condition& condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this);
  // The same until `deadline`, of SteadyNow(), at the latest. Whether `condition` is true now.
  bool AwaitWithDeadline(const absl::Condition& condition, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(this);
  bool AwaitWithTimeout(const absl::Condition& condition, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(this);

 private:
  struct Waiter {
    const absl::Condition* condition;
    std::condition_variable wake = {};
  };

  // Wakes those whose condition is true; with the lock held.
  void WakeReady();

  std::mutex mutex_;
  std::list<Waiter*> waiters_;  // under mutex_
};

class ABSL_SCOPED_LOCKABLE SteadyMutexLock final {
 public:
  explicit SteadyMutexLock(SteadyMutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(*mutex) {
    mutex_.Lock();
  }
  ~SteadyMutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  SteadyMutexLock(const SteadyMutexLock&) = delete;
  SteadyMutexLock& operator=(const SteadyMutexLock&) = delete;

 private:
  SteadyMutex& mutex_;
};

// As absl::Notification.
class SteadyNotification final {
 public:
  void Notify() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasBeenNotified() const ABSL_LOCKS_EXCLUDED(mutex_);
  void WaitForNotification() const { WaitForNotificationWithDeadline(absl::InfiniteFuture()); }
  // Whether it came in time. `deadline` is of SteadyNow().
  bool WaitForNotificationWithDeadline(absl::Time deadline) const ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForNotificationWithTimeout(absl::Duration timeout) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable SteadyMutex mutex_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton
