// Deadlines and refusals, from the event to the caller.
#include <map>
#include <string>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {
namespace {

class CountingObserver final : public QuietObserver {
 public:
  void OnRefused(absl::string_view reason) override { ++refused[std::string(reason)]; }
  void OnExpired(uint64_t num_requests) override { num_expired += num_requests; }

  std::map<std::string, int> refused;
  uint64_t num_expired = 0;
};

class StepEngineAdmission : public testing::Test {
 protected:
  static SimulatedGroupOptions MakeOptions(CountingObserver* observer) {
    SimulatedGroupOptions options;
    options.max_waiting = 2;
    options.max_running = 2;
    options.observer = observer;
    return options;
  }
  void AddStages() {
    group_.AddStage(0);
    group_.AddStage(1);
    group_.Settle();
  }

  CountingObserver observer_;
  SimulatedGroup group_{MakeOptions(&observer_)};
};

TEST_F(StepEngineAdmission, AWaitingRequestEndsAtItsDeadline) {
  const SequenceId id =
      group_.Submit(SimulatedGroup::MakeRequest(4, 4, 1), group_.now() + absl::Milliseconds(100));
  group_.Pass(absl::Milliseconds(99));
  EXPECT_EQ(group_.caller(id).num_finishes, 0);
  group_.Pass(absl::Milliseconds(1));
  ASSERT_TRUE(group_.caller(id).status.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*group_.caller(id).status));
  EXPECT_EQ(observer_.num_expired, 1u);
  AddStages();
  EXPECT_EQ(group_.stage(0)->state.num_sequences(), 0u);
  EXPECT_TRUE(group_.caller(id).tokens.empty());
}

TEST_F(StepEngineAdmission, WakesUpAtTheNextDeadline) {
  group_.Submit(SimulatedGroup::MakeRequest(4, 4, 1), group_.now() + absl::Milliseconds(40));
  const MonotonicTime due = group_.engine().Advance(group_.now());
  EXPECT_GE(due, group_.now() + absl::Milliseconds(40));
  EXPECT_LE(due, group_.now() + absl::Milliseconds(41));
}

TEST_F(StepEngineAdmission, ARunningRequestEndsAtItsDeadlineWithinAStep) {
  AddStages();
  const SequenceId id =
      group_.Submit(SimulatedGroup::MakeRequest(4, 100, 1), group_.now() + absl::Milliseconds(100));
  for (int i = 0; i < 6; ++i) {
    group_.StepStage(0);
    group_.StepStage(1);
  }
  const size_t num_tokens = group_.caller(id).tokens.size();
  ASSERT_GT(num_tokens, 0u);
  group_.Pass(absl::Milliseconds(100));
  ASSERT_TRUE(group_.caller(id).status.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*group_.caller(id).status));
  EXPECT_EQ(group_.caller(id).reason, v1::FINISH_REASON_ERROR);
  group_.Settle();
  EXPECT_EQ(group_.caller(id).tokens.size(), num_tokens);
  EXPECT_EQ(group_.caller(id).num_finishes, 1);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(group_.stage(i)->state.num_sequences(), 0u);
    EXPECT_EQ(group_.stage(i)->state.num_used_blocks(), 0u);
  }
}

TEST_F(StepEngineAdmission, RefusalsAreCountedByReasonAndSayWhenToRetry) {
  const auto submit = [this](const char* key) {
    v1::SubmitRequest request = SimulatedGroup::MakeRequest(4, 4, 1);
    request.set_fairness_key(key);
    return group_.Submit(std::move(request));
  };
  submit("flood");
  const SequenceId latest = submit("flood");
  const SequenceId refused = submit("flood");
  EXPECT_TRUE(absl::IsResourceExhausted(*group_.caller(refused).status));
  EXPECT_GE(group_.caller(refused).retry_after, absl::Seconds(1));
  const SequenceId victim = submit("victim");
  EXPECT_TRUE(absl::IsResourceExhausted(*group_.caller(latest).status));
  EXPECT_GE(group_.caller(latest).retry_after, absl::Seconds(1));
  EXPECT_EQ(observer_.refused,
            (std::map<std::string, int>{{"queue_requests", 1}, {"displaced", 1}}));
  AddStages();
  EXPECT_TRUE(group_.caller(victim).status->ok());
}

TEST_F(StepEngineAdmission, ADrainLeavesNewcomersToTheNextScheduler) {
  group_.engine().Take(DrainEvent{absl::Seconds(5)}, group_.now());
  const SequenceId id = group_.Submit(SimulatedGroup::MakeRequest(4, 4, 1));
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(id).status));
  EXPECT_EQ(group_.caller(id).retry_after, absl::ZeroDuration());
  EXPECT_EQ(observer_.refused.at("draining"), 1);
}

}  // namespace
}  // namespace baton::scheduler
