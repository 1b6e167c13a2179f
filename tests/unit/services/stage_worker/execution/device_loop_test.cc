#include "services/stage_worker/execution/device_loop.h"

#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

std::shared_ptr<QueuedStep> Step(uint64_t step_id) {
  auto batch = std::make_unique<StepBatch>();
  batch->step_id = step_id;
  auto step = std::make_shared<QueuedStep>();
  step->batch = std::move(batch);
  return step;
}

TEST(DeviceLoop, RunsStepsInOrder) {
  std::vector<uint64_t> order;
  DeviceLoop loop(8, [&](const QueuedStep& step) { order.push_back(step.batch->step_id); });
  for (uint64_t id = 1; id <= 5; ++id) ASSERT_TRUE(loop.TrySubmit(Step(id)));
  ASSERT_TRUE(loop.WaitIdle(absl::Now() + absl::Seconds(20)));
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3, 4, 5));
}

TEST(DeviceLoop, RefusesWhenFullAndSaysWhenBusy) {
  absl::Notification started, go;
  DeviceLoop loop(2, [&](const QueuedStep& step) {
    if (step.batch->step_id != 1) return;
    started.Notify();
    go.WaitForNotification();
  });
  ASSERT_TRUE(loop.TrySubmit(Step(1)));
  started.WaitForNotification();
  EXPECT_TRUE(loop.TrySubmit(Step(2)));
  EXPECT_TRUE(loop.TrySubmit(Step(3)));
  EXPECT_FALSE(loop.HasRoom());
  EXPECT_FALSE(loop.TrySubmit(Step(4)));
  EXPECT_FALSE(loop.WaitIdle(absl::Now()));
  go.Notify();
  EXPECT_TRUE(loop.WaitIdle(absl::Now() + absl::Seconds(20)));
  EXPECT_TRUE(loop.HasRoom());
}

TEST(DeviceLoop, RunsWhatIsQueuedBeforeItStops) {
  int num_run = 0;
  DeviceLoop loop(8, [&](const QueuedStep&) { ++num_run; });
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(loop.TrySubmit(Step(id)));
  loop.Stop();
  EXPECT_EQ(num_run, 3);
  EXPECT_FALSE(loop.HasRoom());
  EXPECT_FALSE(loop.TrySubmit(Step(4)));
  loop.Stop();
}

}  // namespace
}  // namespace baton::stage
