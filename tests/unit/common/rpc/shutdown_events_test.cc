#include "common/rpc/shutdown_events.h"

#include <csignal>
#include <thread>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(ShutdownEvents, ReportsSignalsInTurn) {
  auto events = ShutdownEvents::Create();
  ASSERT_TRUE(events.ok()) << events.status();
  kill(getpid(), SIGTERM);
  EXPECT_EQ((*events)->Wait(absl::InfiniteFuture()), "SIGTERM");
  kill(getpid(), SIGINT);
  EXPECT_EQ((*events)->Wait(absl::InfiniteFuture()), "SIGINT");
}

TEST(ShutdownEvents, RequestWakesAWaiter) {
  auto events = ShutdownEvents::Create();
  ASSERT_TRUE(events.ok()) << events.status();
  std::string seen;
  std::thread waiter([&] { seen = (*events)->Wait(absl::InfiniteFuture()); });
  (*events)->Request("the model is gone");
  waiter.join();
  EXPECT_EQ(seen, "the model is gone");
}

TEST(ShutdownEvents, GivesUpAtTheDeadline) {
  auto events = ShutdownEvents::Create();
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_EQ((*events)->Wait(absl::Now() + absl::Milliseconds(1)), "");
}

}  // namespace
}  // namespace baton
