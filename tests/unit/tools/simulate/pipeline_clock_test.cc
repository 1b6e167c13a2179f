#include "tools/simulate/pipeline_clock.h"

#include "gtest/gtest.h"

namespace baton::simulate {
namespace {

constexpr WireTimes kWires{
    .command = 1e-3, .report = 2e-3, .hop = 4e-3, .hop_token = 0, .feedback = 8e-3};

scheduler::StepWork Work() {
  scheduler::StepWork work;
  work.Add(0, 2048, true);
  return work;
}

class PipelineClockTest : public testing::Test {
 protected:
  PipelineClock clock_{StageTimes(2, 1.0), kWires};
  const double first_ = StageTimes(2, 1.0).Seconds(0, Work());
  const double second_ = StageTimes(2, 1.0).Seconds(1, Work());
};

TEST_F(PipelineClockTest, AStepPassesThroughTheStages) {
  const StepTimes step = clock_.Send(10, 1, Work(), 0, true);
  EXPECT_NEAR(step.reached_last, 10 + 1e-3 + first_ + 2e-3, 1e-9);
  EXPECT_NEAR(step.reported, 10 + 1e-3 + first_ + 4e-3 + second_ + 2e-3, 1e-9);
  EXPECT_NEAR(step.idle[0], 1e-3, 1e-9);
  EXPECT_NEAR(step.idle[1], 1e-3 + first_ + 4e-3, 1e-9);
}

TEST_F(PipelineClockTest, AStageTakesTheNextStepWhileTheOtherWorks) {
  const StepTimes one = clock_.Send(0, 1, Work(), 0, true);
  const StepTimes two = clock_.Send(0, 2, Work(), 0, false);
  EXPECT_NEAR(two.reported - one.reported, std::max(first_, second_), 1e-9);
  EXPECT_NEAR(two.idle[0], 0, 1e-9);
}

TEST_F(PipelineClockTest, AFedBackTokenIsWaitedFor) {
  const StepTimes one = clock_.Send(0, 1, Work(), 0, true);
  const StepTimes two = clock_.Send(0, 2, Work(), 1, false);
  EXPECT_NEAR(two.idle[0], 4e-3 + second_ + 8e-3, 1e-9);
  EXPECT_GT(two.reported, one.reported + first_ + second_);
}

TEST_F(PipelineClockTest, DrainIdleIsTheWaitForTheLastStage) {
  clock_.Send(0, 1, Work(), 0, true);
  EXPECT_NEAR(clock_.DrainIdle()[0], 4e-3 + second_, 1e-9);
  EXPECT_EQ(clock_.DrainIdle()[1], 0);
}

TEST_F(PipelineClockTest, AResetStartsAnew) {
  clock_.Send(0, 1, Work(), 0, true);
  clock_.Reset(100);
  EXPECT_NEAR(clock_.Send(100, 1, Work(), 0, true).idle[0], 1e-3, 1e-9);
}

}  // namespace
}  // namespace baton::simulate
