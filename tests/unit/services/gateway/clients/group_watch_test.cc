#include "services/gateway/clients/group_watch.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

class WatchedScheduler final : public SchedulerClient {
 public:
  std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest&, const SubmitOptions&,
                                       SubmitObserver&) override {
    return nullptr;
  }
  std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback state,
                                          GroupLostCallback lost) override {
    ++num_watches;
    on_state = std::move(state);
    on_lost = std::move(lost);
    return std::make_unique<GroupStream>();
  }

  int num_watches = 0;
  GroupStateCallback on_state;
  GroupLostCallback on_lost;
};

class GroupWatchTest : public testing::Test {
 protected:
  void Watch(absl::Duration silence_limit, absl::Duration patience = absl::Hours(1)) {
    watch_.emplace(
        scheduler_, executor_,
        GroupWatch::Options{.model_fingerprint = "m",
                            .on_change = nullptr,
                            .on_presence = [this](bool now) { presence_.push_back(now); },
                            .silence_limit = silence_limit,
                            .patience = patience});
    watch_->Start();
  }
  void Tell(bool ready, uint64_t epoch = 1, const std::string& fingerprint = "m") {
    v1::GroupState state;
    state.set_ready(ready);
    state.set_epoch(epoch);
    state.set_model_fingerprint(fingerprint);
    scheduler_.on_state(state);
  }

  HeldExecutor executor_;
  WatchedScheduler scheduler_;
  std::vector<bool> presence_;
  std::optional<GroupWatch> watch_;
};

TEST_F(GroupWatchTest, SilenceIsALoss) {
  Watch(absl::ZeroDuration());
  EXPECT_EQ(executor_.RunDelayed(absl::Hours(1)), 0u);  // before the first word there is no silence
  Tell(true);
  EXPECT_TRUE(watch_->readiness().ok());
  // The check is late itself at first, and nobody is to blame for that.
  while (watch_->readiness().ok()) ASSERT_GT(executor_.RunDelayed(absl::Hours(1)), 0u);
  EXPECT_EQ(presence_, (std::vector<bool>{true, false}));
  executor_.RunDelayed(absl::Hours(1));
  EXPECT_EQ(scheduler_.num_watches, 2);
  Tell(true);
  EXPECT_EQ(presence_, (std::vector<bool>{true, false, true}));
}

TEST_F(GroupWatchTest, AWordInTimeIsNoSilence) {
  Watch(absl::Hours(1));
  Tell(true);
  executor_.RunDelayed(absl::Hours(1));
  Tell(true);
  executor_.RunDelayed(absl::Hours(1));
  EXPECT_TRUE(watch_->readiness().ok());
  EXPECT_EQ(presence_, std::vector<bool>{true});
}

TEST_F(GroupWatchTest, TakesRequestsWhileALostGroupIsExpectedBack) {
  Watch(absl::Hours(1));
  EXPECT_TRUE(watch_->CheckAccepting().ok());  // the first answer is near
  Tell(false);
  EXPECT_FALSE(watch_->CheckAccepting().ok());  // it loads
  Tell(true);
  EXPECT_TRUE(watch_->CheckAccepting().ok());
  Tell(false, 2);
  EXPECT_FALSE(watch_->readiness().ok());
  EXPECT_TRUE(watch_->CheckAccepting().ok());
  scheduler_.on_lost(absl::UnavailableError("gone"));
  EXPECT_TRUE(watch_->CheckAccepting().ok());
}

TEST_F(GroupWatchTest, TakesRequestsOfAGroupThatLostAStageBeforeItWasSeen) {
  Watch(absl::Hours(1));
  Tell(false, 3);
  EXPECT_FALSE(watch_->readiness().ok());
  EXPECT_TRUE(watch_->CheckAccepting().ok());
}

TEST_F(GroupWatchTest, RefusesRequestsOnceItsPatienceIsOver) {
  Watch(absl::Hours(1), absl::ZeroDuration());
  Tell(true);
  scheduler_.on_lost(absl::UnavailableError("gone"));
  EXPECT_TRUE(absl::IsUnavailable(watch_->CheckAccepting()));
}

TEST_F(GroupWatchTest, ASchedulerOfAnotherModelDoesNotCount) {
  Watch(absl::Hours(1));
  Tell(true, 1, "other");
  EXPECT_TRUE(absl::IsFailedPrecondition(watch_->CheckAccepting()));
  EXPECT_TRUE(presence_.empty());
}

}  // namespace
}  // namespace baton::gateway
