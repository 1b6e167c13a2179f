// What a step engine does while stages are missing, lost or broken.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "services/scheduler/pipeline/step_engine.h"
#include "tests/unit/services/scheduler/pipeline/recovery_log.h"
#include "tests/unit/services/scheduler/pipeline/step_engine_fixture.h"

namespace baton::scheduler {
namespace {

TEST(StepEngineObserver, HearsOfLossesAndRecoveries) {
  RecoveryLog log;
  SimulatedGroup group({.observer = &log});
  group.AddStage(0);
  group.AddStage(1);
  group.Settle();
  EXPECT_TRUE(log.recoveries.empty());  // the first time it is whole is no recovery
  group.KillStage(1);
  EXPECT_EQ(log.losses, std::vector<LossCause>{LossCause::kStage});
  group.Pass(absl::Milliseconds(400));
  group.AddStage(1);
  group.Settle();
  ASSERT_EQ(log.recoveries.size(), 1u);
  EXPECT_GE(log.recoveries[0], absl::Milliseconds(400));
}

TEST_F(StepEngineTest, HoldsRequestsUntilTheGroupIsComplete) {
  const SequenceId id = SubmitSmall();
  EXPECT_EQ(group_.caller(id).num_finishes, 0);
  Complete();
  ExpectAnswered(id);
}

TEST_F(StepEngineTest, RefusesRequestsOnceTheGroupWasIncompleteForTooLong) {
  const SequenceId early = SubmitSmall();
  group_.Pass(absl::Seconds(31));
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(early).status));
  const SequenceId late = SubmitSmall();
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(late).status));
  EXPECT_GE(group_.caller(late).retry_after, absl::Seconds(1));
  const SequenceId later = SubmitSmall();
  EXPECT_LE(group_.caller(later).retry_after, absl::Seconds(3));
  EXPECT_NE(group_.caller(later).retry_after, group_.caller(late).retry_after) << "spread";
}

TEST_F(StepEngineTest, GoesOnWithTheSameTokensAfterALostStage) {
  Complete();
  const SequenceId id = SubmitSmall();
  for (int i = 0; i < 3; ++i) {
    group_.StepStage(0);
    group_.StepStage(1);
  }
  ASSERT_FALSE(group_.caller(id).tokens.empty());
  group_.KillStage(1);
  EXPECT_FALSE(state_->last.ready());
  EXPECT_EQ(state_->last.epoch(), 2u);
  group_.AddStage(1);
  group_.Settle();
  EXPECT_TRUE(state_->last.ready());
  ExpectAnswered(id);
  EXPECT_TRUE(group_.violations().empty());
}

TEST_F(StepEngineTest, LosesASilentStage) {
  Complete();
  const SequenceId id = SubmitSmall();
  const auto frozen = group_.stage(0);
  frozen->frozen = true;
  for (int i = 0; i < 5; ++i) group_.Pass(absl::Milliseconds(250));
  ASSERT_TRUE(frozen->closed.has_value());
  EXPECT_FALSE(state_->last.ready());
  EXPECT_EQ(state_->last.epoch(), 2u);
  group_.AddStage(0);
  group_.Settle();
  ExpectAnswered(id);
}

// Not at the next heartbeat behind it.
TEST_F(StepEngineTest, LooksForASilentStageWhenItsTimeIsOver) {
  Complete();
  const MonotonicTime heard = group_.now();
  const auto frozen = group_.stage(0);
  frozen->frozen = true;
  for (int turn = 0; turn < 20 && !frozen->closed.has_value(); ++turn) {
    const MonotonicTime due = group_.engine().Advance(group_.now());
    group_.Pass(ElapsedSince(group_.now(), due));
  }
  ASSERT_TRUE(frozen->closed.has_value());
  EXPECT_LE(ElapsedSince(heard, group_.now()), absl::Milliseconds(1001));
}

// On a machine that has too much to do the loop comes late, each time by less than a stage may be
// silent for, and takes in late what stages have said.
TEST_F(StepEngineTest, ItsOwnLatenessCountsAgainstNobody) {
  Complete();
  const auto frozen = group_.stage(0);
  frozen->frozen = true;
  const absl::Duration planned = absl::Milliseconds(250);
  const absl::Duration late = absl::Milliseconds(240);
  for (int i = 0; i < 4; ++i) group_.Pass(planned + late);
  EXPECT_FALSE(frozen->closed.has_value()) << "silent for a second of the loop's own";
  group_.Pass(planned);
  EXPECT_TRUE(frozen->closed.has_value()) << "and no longer";
}

TEST_F(StepEngineTest, LosesAStageThatBeatsButFinishesNothing) {
  Complete();
  const auto stalled = group_.stage(1);
  const auto idle = group_.stage(0);
  for (int i = 0; i < 400; ++i) group_.Pass(absl::Milliseconds(250));
  stalled->stalled = true;
  const SequenceId id = SubmitSmall();
  group_.Settle();
  for (int i = 0; i < 240; ++i) group_.Pass(absl::Milliseconds(250));
  EXPECT_FALSE(stalled->closed.has_value());
  group_.Pass(absl::Milliseconds(250));
  EXPECT_TRUE(stalled->closed.has_value());
  EXPECT_FALSE(idle->closed.has_value());
  group_.AddStage(1);
  group_.Settle();
  ExpectAnswered(id);
}

TEST_F(StepEngineTest, LosesAStageThatCannotBeToldItsNeighbours) {
  group_.AddStage(0);
  group_.Settle();
  const auto full = group_.stage(0);
  full->full = true;
  group_.AddStage(1);
  group_.Settle();
  EXPECT_TRUE(full->closed.has_value());
  EXPECT_EQ(state_->last.stages(0).phase(), v1::STAGE_PHASE_ABSENT);
  const SequenceId id = SubmitSmall();
  group_.AddStage(0);
  group_.Settle();
  ExpectAnswered(id);
}

TEST_F(StepEngineTest, BlamesTheLastStageForItsTokensWhoeverReportsLast) {
  Complete();
  SubmitSmall();
  v1::WorkerMessage message;
  *message.mutable_report() = group_.stage(1)->state.Run(group_.stage(1)->inbox.front().step());
  group_.stage(1)->inbox.pop_front();
  message.mutable_report()->mutable_tokens(0)->set_token_id(SimulatedGroup::kVocabSize);
  const auto first = group_.stage(0);
  const auto last = group_.stage(1);
  group_.engine().Take(StageMessageEvent{last, message}, group_.now());
  group_.StepStage(0);
  EXPECT_FALSE(first->closed.has_value());
  ASSERT_TRUE(last->closed.has_value());
  EXPECT_TRUE(absl::IsDataLoss(*last->closed));
}

TEST_F(StepEngineTest, ForgivesSilenceThatItSleptThrough) {
  Complete();
  group_.stage(0)->frozen = true;
  group_.Pass(absl::Seconds(5));
  EXPECT_FALSE(group_.stage(0)->closed.has_value());
}

TEST_F(StepEngineTest, DropsReportsOfAnOlderEpoch) {
  Complete();
  const SequenceId id = SubmitSmall();
  const auto old_stage = group_.stage(0);
  const v1::StepReport late = old_stage->state.Run(old_stage->inbox.front().step());
  group_.KillStage(1);
  group_.AddStage(1);
  group_.Settle();
  v1::WorkerMessage message;
  *message.mutable_report() = late;
  group_.engine().Take(StageMessageEvent{old_stage, message}, group_.now());
  EXPECT_FALSE(old_stage->closed.has_value());
  ExpectAnswered(id);
}

TEST_F(StepEngineTest, ClosesAStageThatBreaksTheProtocol) {
  Complete();
  v1::WorkerMessage message;
  message.mutable_report()->set_epoch(1);
  message.mutable_report()->set_step_id(9);
  const auto stage = group_.stage(0);
  group_.engine().Take(StageMessageEvent{stage, message}, group_.now());
  EXPECT_TRUE(absl::IsDataLoss(*stage->closed));
}

}  // namespace
}  // namespace baton::scheduler
