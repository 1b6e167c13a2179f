// What a caller of Scheduling.Submit sees of the queue and its bounds.
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/contract/scheduler/scheduler_fixture.h"

namespace baton {
namespace {

// A group without stages: whatever is submitted waits.
class WaitingSubmits : public SchedulerFixture {
 protected:
  using SchedulerFixture::SchedulerFixture;

  // Returns once it waits, as one of `count`.
  OpenSubmit Wait(const v1::SubmitRequest& request, uint32_t count) {
    OpenSubmit waiting = BeginSubmit(request);
    EXPECT_TRUE(WaitForState(
        [count](const v1::GroupState& state) { return state.num_waiting() == count; }));
    return waiting;
  }

  static v1::SubmitRequest Keyed(const char* key, uint32_t prompt_tokens = 4) {
    v1::SubmitRequest request = MakeRequest(prompt_tokens, 4);
    request.set_fairness_key(key);
    return request;
  }
};

class SmallQueue : public WaitingSubmits {
 protected:
  static scheduler::SchedulerConfig Small() {
    scheduler::SchedulerConfig config = MakeConfig();
    config.max_num_queued_reqs = 3;
    config.max_num_queued_tokens = 100;
    return config;
  }
  SmallQueue() : WaitingSubmits(Small()) {}
};

TEST_F(SmallQueue, RefusesMoreTokensThanMayWait) {
  const OpenSubmit first = Wait(MakeRequest(80, 4), 1);
  const SubmitOutcome outcome = Submit(MakeRequest(21, 4));
  EXPECT_TRUE(absl::IsResourceExhausted(outcome.status)) << outcome.status;
  ASSERT_TRUE(outcome.retry_after_ms.has_value());
  EXPECT_GE(std::stoi(*outcome.retry_after_ms), 1000);
  EXPECT_LE(std::stoi(*outcome.retry_after_ms), 60'000);
  EXPECT_TRUE(
      WaitForState([](const v1::GroupState& state) { return state.num_waiting_tokens() == 80; }));
  CompleteGroup();
  EXPECT_TRUE(ReadAll(first).status.ok());
}

TEST_F(SmallQueue, MakesRoomForAKeyThatWaitsLess) {
  std::vector<OpenSubmit> floods;
  for (uint32_t i = 1; i <= 3; ++i) floods.push_back(Wait(Keyed("flood"), i));
  EXPECT_TRUE(absl::IsResourceExhausted(Submit(Keyed("flood")).status));
  const OpenSubmit victim = BeginSubmit(Keyed("victim"));
  const SubmitOutcome displaced = ReadAll(floods[2]);
  EXPECT_TRUE(absl::IsResourceExhausted(displaced.status)) << displaced.status;
  EXPECT_TRUE(displaced.retry_after_ms.has_value());
  CompleteGroup();
  EXPECT_TRUE(ReadAll(victim).status.ok());
  EXPECT_TRUE(ReadAll(floods[0]).status.ok());
}

TEST_F(WaitingSubmits, TheFirstTokenSaysHowLongTheRequestWaited) {
  const OpenSubmit waiting = Wait(MakeRequest(4, 4), 1);
  const absl::Time waits = absl::Now();
  CompleteGroup();
  const absl::Duration at_most = absl::Now() - waits + absl::Seconds(20);
  const SubmitOutcome outcome = ReadAll(waiting);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_GT(outcome.responses[0].queue_us(), 0u);
  EXPECT_LT(outcome.responses[0].queue_us(), absl::ToInt64Microseconds(at_most));
  for (size_t i = 1; i < outcome.responses.size(); ++i) {
    EXPECT_EQ(outcome.responses[i].queue_us(), 0u);
  }
}

TEST_F(WaitingSubmits, RefusesAWeightOutOfRange) {
  v1::SubmitRequest request = MakeRequest(4, 4);
  request.set_fairness_weight(1001);
  const SubmitOutcome outcome = Submit(request);
  EXPECT_TRUE(absl::IsInvalidArgument(outcome.status)) << outcome.status;
  EXPECT_NE(outcome.status.message().find("fairness_weight"), std::string::npos);
}

}  // namespace
}  // namespace baton
