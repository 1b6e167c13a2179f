#include "services/scheduler/pipeline/step_loop.h"

#include <memory>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

StepEngineOptions MakeOptions(GroupWatch* watch) {
  StepEngineOptions options;
  options.schedule.max_model_len = 128;
  options.schedule.vocab_size = 100;
  options.plans.resize(1);
  options.watch = watch;
  return options;
}

// Ends with a status; perhaps holds the step loop up first.
class EndedSink final : public TokenSink {
 public:
  PushResult Push(v1::SubmitResponse) override { return PushResult::kTaken; }
  MonotonicTime last_taken() const override { return {}; }
  void Finish(const absl::Status& end, absl::Duration) override {
    ended.Notify();
    if (hold != nullptr) hold->WaitForNotification();
    status = end;
    done.Notify();
  }
  absl::Notification ended;
  absl::Notification done;
  absl::Notification* hold = nullptr;
  absl::Status status;
};

TEST(StepLoop, RefusesWhatWasInTheInboxWhenItStopped) {
  GroupWatch watch;
  absl::Notification release;
  auto first = std::make_shared<EndedSink>();
  first->hold = &release;
  std::vector<std::shared_ptr<EndedSink>> sinks;
  {
    StepLoop loop(MakeOptions(&watch), 1000);
    // Without a prompt: refused at once, while the loop holds still in Finish.
    ASSERT_TRUE(loop.Post(SubmitEvent{loop.NewSequenceId(), {}, first}));
    first->ended.WaitForNotification();
    ASSERT_TRUE(loop.Post(DrainEvent{absl::ZeroDuration()}));
    for (int i = 0; i < 200; ++i) {
      sinks.push_back(std::make_shared<EndedSink>());
      ASSERT_TRUE(loop.Post(SubmitEvent{loop.NewSequenceId(), {}, sinks.back()}));
    }
    release.Notify();
    loop.Drain(absl::Now());
  }
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->done.HasBeenNotified());
    EXPECT_TRUE(absl::IsUnavailable(sink->status)) << sink->status;
  }
}

TEST(StepLoop, IsAliveUnlessItHoldsStill) {
  GroupWatch watch;
  absl::Notification release;
  auto sink = std::make_shared<EndedSink>();
  sink->hold = &release;
  StepLoop loop(MakeOptions(&watch), 10);
  EXPECT_TRUE(loop.CheckAlive(std::chrono::steady_clock::now()).ok());
  ASSERT_TRUE(loop.Post(SubmitEvent{loop.NewSequenceId(), {}, sink}));
  sink->ended.WaitForNotification();
  const MonotonicTime now = std::chrono::steady_clock::now();
  EXPECT_TRUE(absl::IsUnavailable(loop.CheckAlive(now + absl::Seconds(6))));
  release.Notify();
  loop.Drain(absl::Now());
  EXPECT_TRUE(loop.CheckAlive(now + absl::Hours(1)).ok());
}

}  // namespace
}  // namespace baton::scheduler
