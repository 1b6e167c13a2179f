#include "services/scheduler/calls/live_calls.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

TEST(LiveCalls, RefusesAtTheBoundAndTakesAgainAfterwards) {
  LiveCalls calls(2);
  EXPECT_TRUE(calls.Enter());
  EXPECT_TRUE(calls.Enter());
  EXPECT_FALSE(calls.Enter());
  EXPECT_EQ(calls.open(), 2u);
  calls.Leave();
  EXPECT_TRUE(calls.Enter());
}

TEST(LiveCalls, AreEnoughForNewcomersBesideAsManySuspendedOnesAsRunAndWait) {
  LiveCalls calls(MostCalls(256, 1024));
  const auto enter = [&calls](uint32_t count) {
    uint32_t num_entered = 0;
    while (num_entered < count && calls.Enter()) ++num_entered;
    return num_entered;
  };
  EXPECT_EQ(enter(1280), 1280u) << "suspended";
  EXPECT_EQ(enter(256), 256u) << "running";
  EXPECT_EQ(enter(1024), 1024u) << "waiting";
  EXPECT_EQ(enter(1000), kSpareCalls) << "on their way";
}

}  // namespace
}  // namespace baton::scheduler
