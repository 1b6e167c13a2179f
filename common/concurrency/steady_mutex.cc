#include "common/concurrency/steady_mutex.h"

#include <chrono>

#include "common/concurrency/steady_time.h"

namespace baton {

void SteadyMutex::Lock() { mutex_.lock(); }

void SteadyMutex::Unlock() {
  WakeReady();
  mutex_.unlock();
}

void SteadyMutex::WakeReady() {
  // Under the lock: a waiter that is gone cannot be woken any more.
  for (Waiter* waiter : waiters_)
    if (waiter->condition->Eval()) waiter->wake.notify_one();
}

void SteadyMutex::Await(const absl::Condition& condition) {
  AwaitWithDeadline(condition, absl::InfiniteFuture());
}

bool SteadyMutex::AwaitWithTimeout(const absl::Condition& condition, absl::Duration timeout) {
  return AwaitWithDeadline(condition, SteadyNow() + timeout);
}

bool SteadyMutex::AwaitWithDeadline(const absl::Condition& condition, absl::Time deadline) {
  if (condition.Eval()) return true;
  const std::chrono::steady_clock::time_point limit = ToSteadyClock(deadline);
  if (limit <= std::chrono::steady_clock::now()) return false;
  WakeReady();  // waiting unlocks
  std::unique_lock<std::mutex> lock(mutex_, std::adopt_lock);
  Waiter self{&condition};
  const auto place = waiters_.insert(waiters_.end(), &self);
  bool in_time = true;
  while (in_time && !condition.Eval()) {
    if (limit == std::chrono::steady_clock::time_point::max())
      self.wake.wait(lock);
    else
      in_time = self.wake.wait_until(lock, limit) == std::cv_status::no_timeout;
  }
  waiters_.erase(place);
  lock.release();
  return in_time || condition.Eval();
}

void SteadyNotification::Notify() {
  const SteadyMutexLock lock(&mutex_);
  notified_ = true;
}

bool SteadyNotification::HasBeenNotified() const {
  const SteadyMutexLock lock(&mutex_);
  return notified_;
}

bool SteadyNotification::WaitForNotificationWithDeadline(absl::Time deadline) const {
  const SteadyMutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(&notified_), deadline);
}

bool SteadyNotification::WaitForNotificationWithTimeout(absl::Duration timeout) const {
  return WaitForNotificationWithDeadline(SteadyNow() + timeout);
}

}  // namespace baton
