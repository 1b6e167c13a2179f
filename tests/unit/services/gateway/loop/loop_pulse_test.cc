#include "services/gateway/loop/loop_pulse.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

TEST(LoopPulse, ALoopThatRunsItsWorkIsAlive) {
  HeldExecutor loop;
  LoopPulse pulse(loop);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(pulse.Check(kStart + i * absl::Hours(1)).ok());
    EXPECT_TRUE(loop.RunOne());
  }
}

TEST(LoopPulse, ALoopThatRunsNothingIsNot) {
  HeldExecutor loop;
  LoopPulse pulse(loop);
  EXPECT_TRUE(pulse.Check(kStart).ok());
  EXPECT_TRUE(pulse.Check(kStart + LoopPulse::kLongestTurn).ok());
  EXPECT_FALSE(pulse.Check(kStart + LoopPulse::kLongestTurn + absl::Seconds(1)).ok());
  EXPECT_EQ(loop.num_held(), 1u);  // one beat at a time
  EXPECT_TRUE(loop.RunOne());
  EXPECT_TRUE(pulse.Check(kStart + absl::Hours(1)).ok());
}

TEST(LoopPulse, MayGoBeforeTheWorkThatItLeft) {
  HeldExecutor loop;
  EXPECT_TRUE(LoopPulse(loop).Check(kStart).ok());
  EXPECT_TRUE(loop.RunOne());
}

}  // namespace
}  // namespace baton::gateway
