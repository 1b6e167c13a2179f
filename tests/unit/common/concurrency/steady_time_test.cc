// A process whose time of day was set back by an hour after it had begun: what this program is told
// of the time of day is an hour ahead of what the kernel waits by.
#include "common/concurrency/steady_time.h"

#include <atomic>
#include <cstdint>
#include <ctime>
#include <sys/syscall.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/steady_mutex.h"

namespace {
constexpr int64_t kHour = 3600;
std::atomic<int64_t> wall_ahead_seconds{kHour};
}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);  // NOLINT: syscall's type
  if (clock == CLOCK_REALTIME) time->tv_sec += wall_ahead_seconds.load();
  return static_cast<int>(result);
}

extern "C" int gettimeofday(timeval* time, void* zone) noexcept {
  const long result = syscall(SYS_gettimeofday, time, zone);  // NOLINT: syscall's type
  time->tv_sec += wall_ahead_seconds.load();
  return static_cast<int>(result);
}

namespace baton {
namespace {

TEST(SteadyTime, TheTimeOfDayMovesAndItDoesNot) {
  const absl::Time steady = SteadyNow();
  const absl::Time wall = absl::Now();
  wall_ahead_seconds = 3 * kHour;
  EXPECT_GE(absl::Now() - wall, absl::Hours(1)) << "the test's clock is not in use";
  EXPECT_LT(SteadyNow() - steady, absl::Hours(1));
  wall_ahead_seconds = kHour;
}

TEST(SteadyTime, GoesOnAndIsFoundOnTheClockOfWaits) {
  const absl::Time first = SteadyNow();
  const absl::Time second = SteadyNow();
  EXPECT_LE(first, second);
  EXPECT_LE(ToSteadyClock(second), std::chrono::steady_clock::now());
  EXPECT_EQ(ToSteadyClock(second + absl::Seconds(5)) - ToSteadyClock(second),
            std::chrono::seconds(5));
  EXPECT_EQ(ToSteadyClock(absl::InfiniteFuture()), std::chrono::steady_clock::time_point::max());
  EXPECT_EQ(ToSteadyClock(absl::InfinitePast()), std::chrono::steady_clock::time_point::min());
}

// The next three hang for an hour if a wait follows the time of day.
TEST(SteadyTime, ANotificationThatDoesNotComeEndsItsWait) {
  const SteadyNotification notification;
  EXPECT_FALSE(notification.WaitForNotificationWithTimeout(absl::Milliseconds(5)));
}

TEST(SteadyTime, AConditionThatStaysFalseEndsItsWait) {
  SteadyMutex mutex;
  bool flag = false;
  const SteadyMutexLock lock(&mutex);
  EXPECT_FALSE(mutex.AwaitWithTimeout(absl::Condition(&flag), absl::Milliseconds(5)));
}

TEST(SteadyTime, AnEmptyQueueEndsItsWait) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.Pop(SteadyNow() + absl::Milliseconds(5)), std::nullopt);
}

TEST(SteadyMutex, AnUnlockWakesThoseWhoseConditionIsTrue) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 500;
  SteadyMutex mutex;
  int turn = 0;  // under mutex
  std::vector<std::thread> threads;
  for (int self = 0; self < kThreads; ++self) {
    threads.emplace_back([&, self] {
      for (int i = 0; i < kTurns; ++i) {
        const auto mine = [&] { return turn % kThreads == self; };
        const SteadyMutexLock lock(&mutex);
        mutex.Await(absl::Condition(&mine));
        ++turn;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const SteadyMutexLock lock(&mutex);
  EXPECT_EQ(turn, kThreads * kTurns);
}

TEST(SteadyMutex, AWaiterUnlocksForOthers) {
  SteadyMutex mutex;
  bool asked = false;     // under mutex
  bool answered = false;  // under mutex
  std::thread other([&] {
    const SteadyMutexLock lock(&mutex);
    mutex.Await(absl::Condition(&asked));
    answered = true;
  });
  {
    const SteadyMutexLock lock(&mutex);
    asked = true;  // no unlock but that of the wait
    EXPECT_TRUE(mutex.AwaitWithDeadline(absl::Condition(&answered), absl::InfiniteFuture()));
  }
  other.join();
}

TEST(SteadyMutex, ADeadlineThatIsPastOnlyLooks) {
  SteadyMutex mutex;
  bool flag = false;
  const SteadyMutexLock lock(&mutex);
  EXPECT_FALSE(mutex.AwaitWithDeadline(absl::Condition(&flag), absl::InfinitePast()));
  flag = true;
  EXPECT_TRUE(mutex.AwaitWithDeadline(absl::Condition(&flag), absl::InfinitePast()));
}

TEST(SteadyNotification, WakesWhoWaits) {
  SteadyNotification notification;
  EXPECT_FALSE(notification.HasBeenNotified());
  std::thread waiter([&] { notification.WaitForNotification(); });
  notification.Notify();
  waiter.join();
  EXPECT_TRUE(notification.HasBeenNotified());
}

}  // namespace
}  // namespace baton
