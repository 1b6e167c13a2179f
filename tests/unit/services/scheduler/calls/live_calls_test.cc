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

}  // namespace
}  // namespace baton::scheduler
