// Tells the thread sanitizer of Abseil's locks. The distribution's libabsl_synchronization is not
// instrumented and takes its locks with futexes, which the sanitizer does not see: every access
// under an absl::Mutex would look like a race. Linked into every program of the preset tsan, these
// functions take the library's place, for the shared libraries too, and call it.
//
// A lock is a happens-before edge at its address: an unlock releases, a lock acquires. Conditions
// (Await) run in whichever thread unlocks, and within the library; what they read is guarded by the
// lock that the library still holds, but the edge has been told already, so nothing is recorded
// while the library runs. Possible deadlocks are not looked for.
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <string>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace {

// While it lives this thread's accesses are not recorded.
class Unrecorded {
 public:
  Unrecorded() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unrecorded() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};

// The library's own function; `member` is its mangled name behind the class's namespaces.
template <typename Function>
Function Real(const char* member) {
  // Debian 12's Abseil has this inline namespace.
  const std::string symbol = std::string(member).insert(member[3] == 'K' ? 4 : 3, "4absl7debian3");
  void* const found = dlsym(RTLD_NEXT, symbol.c_str());
  if (found == nullptr) std::abort();
  return reinterpret_cast<Function>(found);
}

}  // namespace

namespace absl {
inline namespace debian3 {

void Mutex::Lock() {
  static const auto real = Real<void (*)(Mutex*)>("_ZN5Mutex4LockEv");
  {
    const Unrecorded unrecorded;
    real(this);
  }
  __tsan_acquire(this);
}

void Mutex::ReaderLock() {
  static const auto real = Real<void (*)(Mutex*)>("_ZN5Mutex10ReaderLockEv");
  {
    const Unrecorded unrecorded;
    real(this);
  }
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static const auto real = Real<void (*)(Mutex*)>("_ZN5Mutex6UnlockEv");
  __tsan_release(this);
  {
    const Unrecorded unrecorded;
    real(this);
  }
}

void Mutex::ReaderUnlock() {
  static const auto real = Real<void (*)(Mutex*)>("_ZN5Mutex12ReaderUnlockEv");
  __tsan_release(this);
  {
    const Unrecorded unrecorded;
    real(this);
  }
}

bool Mutex::TryLock() {
  static const auto real = Real<bool (*)(Mutex*)>("_ZN5Mutex7TryLockEv");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this);
  }();
  if (result) __tsan_acquire(this);
  return result;
}

bool Mutex::ReaderTryLock() {
  static const auto real = Real<bool (*)(Mutex*)>("_ZN5Mutex13ReaderTryLockEv");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this);
  }();
  if (result) __tsan_acquire(this);
  return result;
}

void Mutex::LockWhen(const Condition& condition) {
  static const auto real =
      Real<void (*)(Mutex*, const Condition&)>("_ZN5Mutex8LockWhenERKNS0_9ConditionE");
  {
    const Unrecorded unrecorded;
    real(this, condition);
  }
  __tsan_acquire(this);
}

void Mutex::ReaderLockWhen(const Condition& condition) {
  static const auto real =
      Real<void (*)(Mutex*, const Condition&)>("_ZN5Mutex14ReaderLockWhenERKNS0_9ConditionE");
  {
    const Unrecorded unrecorded;
    real(this, condition);
  }
  __tsan_acquire(this);
}

void Mutex::Await(const Condition& condition) {
  static const auto real =
      Real<void (*)(Mutex*, const Condition&)>("_ZN5Mutex5AwaitERKNS0_9ConditionE");
  __tsan_release(this);
  {
    const Unrecorded unrecorded;
    real(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Duration)>(
      "_ZN5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  __tsan_release(this);
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, timeout);
  }();
  __tsan_acquire(this);
  return result;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Time)>(
      "_ZN5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  __tsan_release(this);
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, deadline);
  }();
  __tsan_acquire(this);
  return result;
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Duration)>(
      "_ZN5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, timeout);
  }();
  __tsan_acquire(this);
  return result;
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Time)>(
      "_ZN5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, deadline);
  }();
  __tsan_acquire(this);
  return result;
}

bool Mutex::ReaderLockWhenWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Duration)>(
      "_ZN5Mutex25ReaderLockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, timeout);
  }();
  __tsan_acquire(this);
  return result;
}

bool Mutex::ReaderLockWhenWithDeadline(const Condition& condition, Time deadline) {
  static const auto real = Real<bool (*)(Mutex*, const Condition&, Time)>(
      "_ZN5Mutex26ReaderLockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, condition, deadline);
  }();
  __tsan_acquire(this);
  return result;
}

void CondVar::Wait(Mutex* mutex) {
  static const auto real = Real<void (*)(CondVar*, Mutex*)>("_ZN7CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  {
    const Unrecorded unrecorded;
    real(this, mutex);
  }
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto real = Real<bool (*)(CondVar*, Mutex*, Duration)>(
      "_ZN7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, mutex, timeout);
  }();
  __tsan_acquire(mutex);
  return result;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const auto real = Real<bool (*)(CondVar*, Mutex*, Time)>(
      "_ZN7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, mutex, deadline);
  }();
  __tsan_acquire(mutex);
  return result;
}

// HasBeenNotified is inline: it loads `notified_yet_`, behind the notification's mutex.
void Notification::Notify() {
  static const auto real = Real<void (*)(Notification*)>("_ZN12Notification6NotifyEv");
  __tsan_release(this);
  __tsan_release(&notified_yet_);
  {
    const Unrecorded unrecorded;
    real(this);
  }
}

void Notification::WaitForNotification() const {
  static const auto real =
      Real<void (*)(const Notification*)>("_ZNK12Notification19WaitForNotificationEv");
  {
    const Unrecorded unrecorded;
    real(this);
  }
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static const auto real = Real<bool (*)(const Notification*, Duration)>(
      "_ZNK12Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, timeout);
  }();
  if (result) __tsan_acquire(const_cast<Notification*>(this));
  return result;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  static const auto real = Real<bool (*)(const Notification*, Time)>(
      "_ZNK12Notification31WaitForNotificationWithDeadlineENS0_4TimeE");
  const bool result = [&] {
    const Unrecorded unrecorded;
    return real(this, deadline);
  }();
  if (result) __tsan_acquire(const_cast<Notification*>(this));
  return result;
}

// The counter that it lowers is the library's: who has a status's text last comes behind all
// others.
void Status::UnrefNonInlined(uintptr_t rep) {
  static const auto real = Real<void (*)(uintptr_t)>("_ZN6Status15UnrefNonInlinedEm");
  __tsan_release(reinterpret_cast<void*>(rep));
  __tsan_acquire(reinterpret_cast<void*>(rep));
  real(rep);
}

}  // namespace debian3
}  // namespace absl
