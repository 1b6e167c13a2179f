// Callers that do not take their tokens: their own sequences stand still, nobody else's, and end
// when that lasts.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/step_engine_fixture.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kUnread = 5;
constexpr uint32_t kReaderMaxLen = 128;
constexpr absl::Duration kBeat = absl::Milliseconds(200);

class StallObserver final : public QuietObserver {
 public:
  void OnStalledReader() override { ++num_stalled; }
  int num_stalled = 0;
};

class StepEngineReader : public testing::TestWithParam<uint32_t> {
 protected:
  explicit StepEngineReader(uint32_t max_waiting = 1000)
      : group_(
            {.lookahead_steps = GetParam(), .max_waiting = max_waiting, .observer = &observer_}) {
    group_.AddStage(0);
    group_.AddStage(1);
    group_.Settle();
  }

  // One whose caller leaves more than a few tokens unread.
  SequenceId SubmitUnread(uint32_t max_tokens = 60) {
    const SequenceId id = group_.Submit(SimulatedGroup::MakeRequest(10, max_tokens, 5));
    group_.caller(id).most_unread = kUnread;
    return id;
  }
  void PassFor(absl::Duration duration) {
    for (absl::Duration passed; passed < duration; passed += kBeat) group_.Pass(kBeat);
  }
  void ExpectAnswered(SequenceId id) {
    SimulatedCaller& caller = group_.caller(id);
    ASSERT_EQ(caller.num_finishes, 1);
    EXPECT_TRUE(caller.status->ok()) << *caller.status;
    EXPECT_EQ(caller.tokens, SimulatedGroup::Expected(caller.request, kReaderMaxLen));
  }
  void ExpectBaseline() {
    for (uint32_t i = 0; i < 2; ++i) {
      EXPECT_EQ(group_.stage(i)->state.num_sequences(), 0u);
      EXPECT_EQ(group_.stage(i)->state.num_used_blocks(), 0u);
    }
    EXPECT_TRUE(group_.violations().empty()) << group_.violations().front();
  }

  StallObserver observer_;
  SimulatedGroup group_;
};

TEST_P(StepEngineReader, StandsStillAloneAndGoesOnWithTheSameTokens) {
  const SequenceId slow = SubmitUnread();
  const SequenceId other = group_.Submit(SimulatedGroup::MakeRequest(10, 60, 6));
  group_.Settle();
  ExpectAnswered(other);
  while (group_.caller(slow).num_finishes == 0) {
    // What is in flight when it falls behind still comes.
    ASSERT_GT(group_.caller(slow).num_unread, kUnread);
    ASSERT_LE(group_.caller(slow).num_unread, kUnread + 2 + GetParam());
    group_.Read(slow);
    group_.Settle();
  }
  ExpectAnswered(slow);
  ExpectBaseline();
  EXPECT_EQ(observer_.num_stalled, 0);
}

TEST_P(StepEngineReader, EndsWhenItsCallerTakesNothingForTooLong) {
  const SequenceId slow = SubmitUnread();
  group_.Settle();
  PassFor(absl::Seconds(59));
  group_.Settle();
  ASSERT_EQ(group_.caller(slow).num_finishes, 0);
  PassFor(absl::Seconds(2));
  group_.Settle();
  ASSERT_EQ(group_.caller(slow).num_finishes, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(*group_.caller(slow).status));
  EXPECT_NE(group_.caller(slow).status->message().find("taken none of its tokens"),
            std::string::npos);
  EXPECT_EQ(group_.caller(slow).retry_after, absl::ZeroDuration());
  EXPECT_EQ(observer_.num_stalled, 1);
  ExpectBaseline();
  PassFor(absl::Seconds(61));
  EXPECT_EQ(observer_.num_stalled, 1);
}

TEST_P(StepEngineReader, AReaderThatTakesNowAndThenIsNotCutOff) {
  const SequenceId slow = SubmitUnread();
  for (int i = 0; i < 20 && group_.caller(slow).num_finishes == 0; ++i) {
    group_.Settle();
    PassFor(absl::Seconds(50));
    group_.Read(slow);
  }
  ExpectAnswered(slow);
  EXPECT_EQ(observer_.num_stalled, 0);
}

// It has not caught up for minutes, but takes a message now and then.
TEST_P(StepEngineReader, AReaderThatTakesLittleIsNotCutOff) {
  const SequenceId slow = SubmitUnread();
  group_.Settle();
  for (int i = 0; i < 5; ++i) {
    PassFor(absl::Seconds(50));
    ASSERT_EQ(group_.caller(slow).num_finishes, 0) << i;
    group_.caller(slow).taken_at = group_.now();
  }
  PassFor(absl::Seconds(59));
  EXPECT_EQ(group_.caller(slow).num_finishes, 0);
  PassFor(absl::Seconds(2));
  EXPECT_EQ(group_.caller(slow).num_finishes, 1);
}

TEST_P(StepEngineReader, TimeThatTheLoopSleptDoesNotCount) {
  const SequenceId slow = SubmitUnread();
  group_.Settle();
  group_.Pass(absl::Seconds(300));
  group_.Settle();
  EXPECT_EQ(group_.caller(slow).num_finishes, 0);
  PassFor(absl::Seconds(61));
  EXPECT_EQ(group_.caller(slow).num_finishes, 1);
}

TEST_P(StepEngineReader, ALostStageCostsNoToken) {
  const SequenceId slow = SubmitUnread();
  group_.Settle();
  for (uint32_t lost = 0; lost < 2; ++lost) {
    group_.KillStage(lost);
    group_.AddStage(lost);
    group_.Settle();
    EXPECT_EQ(group_.stage(lost)->state.num_sequences(), 0u) << "nobody waits for it yet";
    group_.Read(slow);
    group_.Settle();
  }
  while (group_.caller(slow).num_finishes == 0) {
    group_.Read(slow);
    group_.Settle();
  }
  ExpectAnswered(slow);
  ExpectBaseline();
}

TEST_P(StepEngineReader, MayBeCancelled) {
  const SequenceId slow = SubmitUnread();
  group_.Settle();
  group_.Cancel(slow);
  group_.Settle();
  EXPECT_TRUE(absl::IsCancelled(*group_.caller(slow).status));
  group_.Read(slow);  // too late
  PassFor(absl::Seconds(61));
  EXPECT_EQ(observer_.num_stalled, 0);
  ExpectBaseline();
}

TEST_P(StepEngineReader, EndsAtItsDeadline) {
  const SequenceId slow =
      group_.Submit(SimulatedGroup::MakeRequest(10, 60, 5), group_.now() + absl::Seconds(10));
  group_.caller(slow).most_unread = kUnread;
  group_.Settle();
  PassFor(absl::Seconds(11));
  group_.Settle();
  EXPECT_TRUE(absl::IsDeadlineExceeded(*group_.caller(slow).status));
  ExpectBaseline();
}

// Its answer is complete: what it has not read waits in its call, not in the group.
TEST_P(StepEngineReader, EndsWithItsLastToken) {
  const SequenceId slow = SubmitUnread(kUnread + 1);
  group_.Settle();
  ExpectAnswered(slow);
  PassFor(absl::Seconds(61));
  EXPECT_EQ(observer_.num_stalled, 0);
  ExpectBaseline();
}

TEST_P(StepEngineReader, IsAbortedAtTheDrainsDeadline) {
  const SequenceId slow = SubmitUnread();
  const SequenceId reads_on = SubmitUnread();
  group_.Settle();
  group_.engine().Take(DrainEvent{absl::Seconds(5)}, group_.now());
  while (group_.caller(reads_on).num_finishes == 0) {
    group_.Read(reads_on);
    group_.Settle();
  }
  ExpectAnswered(reads_on);
  PassFor(absl::Seconds(4));
  EXPECT_EQ(group_.caller(slow).num_finishes, 0);
  PassFor(absl::Seconds(2));
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(slow).status));
  EXPECT_EQ(group_.caller(slow).retry_after, absl::ZeroDuration()) << "the next scheduler's";
  group_.Settle();
  EXPECT_TRUE(group_.engine().stopped());
}

class StepEngineFewCalls : public StepEngineReader {
 protected:
  StepEngineFewCalls() : StepEngineReader(/*max_waiting=*/3) {}
  SequenceId SubmitUnreadOf(const char* key) {
    v1::SubmitRequest request = SimulatedGroup::MakeRequest(10, 60, 5);
    request.set_fairness_key(key);
    const SequenceId id = group_.Submit(std::move(request));
    group_.caller(id).most_unread = kUnread;
    group_.Settle();
    group_.Pass(kBeat);
    return id;
  }
};

// No more are suspended than may run and wait. Beyond that, the key that has most of them loses
// those that have stalled longest; others do not, however long they have.
TEST_P(StepEngineFewCalls, AKeyThatHasMostOfThemLosesTheLongestStalled) {
  const SequenceId other = SubmitUnreadOf("other");
  std::vector<SequenceId> flood;
  for (int i = 0; i < 16; ++i) flood.push_back(SubmitUnreadOf("flood"));
  EXPECT_EQ(group_.caller(other).num_finishes, 0);
  for (size_t i = 0; i < flood.size(); ++i) {
    const SimulatedCaller& caller = group_.caller(flood[i]);
    ASSERT_EQ(caller.num_finishes, i < 6 ? 1 : 0) << i;
    if (i >= 6) continue;
    EXPECT_TRUE(absl::IsResourceExhausted(*caller.status)) << *caller.status;
    EXPECT_GE(caller.retry_after, absl::Seconds(1)) << "it is for want of room";
    EXPECT_NE(caller.status->message().find("most callers"), std::string::npos) << *caller.status;
  }
  EXPECT_EQ(observer_.num_stalled, 6);
  while (group_.caller(other).num_finishes == 0) {
    group_.Read(other);
    group_.Settle();
  }
  ExpectAnswered(other);
}

class StepEngineOnePlace : public StepEngineTest {
 protected:
  StepEngineOnePlace() : StepEngineTest({.max_running = 1}) { Complete(); }
};

TEST_F(StepEngineOnePlace, WhatIsPausedWaitsWithItsTokens) {
  const SequenceId paused = group_.Submit(SimulatedGroup::MakeRequest(10, 60, 5));
  group_.caller(paused).most_unread = kUnread;
  group_.Settle();
  const SequenceId other = group_.Submit(SimulatedGroup::MakeRequest(10, 60, 6));
  while (group_.caller(other).tokens.empty()) {
    ASSERT_TRUE(group_.StepStage(0) || group_.StepStage(1));
  }
  group_.Read(paused);
  group_.Pass(absl::Milliseconds(250));
  EXPECT_EQ(state_->last.num_waiting(), 1u);
  EXPECT_EQ(state_->last.num_waiting_tokens(), 10 + group_.caller(paused).tokens.size());
}

INSTANTIATE_TEST_SUITE_P(Lookahead, StepEngineReader, testing::Values(0u, 1u));
INSTANTIATE_TEST_SUITE_P(Lookahead, StepEngineFewCalls, testing::Values(0u, 1u));

}  // namespace
}  // namespace baton::scheduler
