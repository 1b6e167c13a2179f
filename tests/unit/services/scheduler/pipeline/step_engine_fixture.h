// A step engine with two simulated stages, for tests.
#pragma once

#include <memory>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {

// Keeps the newest state.
class LastState final : public GroupWatcher {
 public:
  void Notify(const v1::GroupState& state) override {
    last = state;
    ++num_states;
  }
  void End() override {}
  v1::GroupState last;
  int num_states = 0;
};

class StepEngineTest : public testing::Test {
 protected:
  explicit StepEngineTest(SimulatedGroupOptions options = {}) : group_(options) {
    group_.watch().Add(state_);
  }

  void Complete() {
    group_.AddStage(0);
    group_.AddStage(1);
    group_.Settle();
  }

  SequenceId SubmitSmall(uint64_t seed = 5) {
    return group_.Submit(SimulatedGroup::MakeRequest(10, 6, seed));
  }

  void ExpectAnswered(SequenceId id) {
    SimulatedCaller& caller = group_.caller(id);
    ASSERT_EQ(caller.num_finishes, 1);
    EXPECT_TRUE(caller.status->ok()) << *caller.status;
    EXPECT_EQ(caller.tokens, SimulatedGroup::Expected(caller.request, 128));
  }

  SimulatedGroup group_;
  std::shared_ptr<LastState> state_ = std::make_shared<LastState>();
};

}  // namespace baton::scheduler
