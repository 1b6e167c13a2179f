// What a step engine does when the link between two stages is cut or breaks.
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

// Both hear the scheduler; what stage 0 sends does not reach stage 1.
class StepEngineLink : public StepEngineTest {
 protected:
  explicit StepEngineLink(absl::Duration heartbeat_timeout = absl::Seconds(1))
      : StepEngineLink(heartbeat_timeout, std::make_unique<RecoveryLog>()) {}
  // What was computed did not fail, says the worker of stage 1: it does not reach stage 0.
  void BreakConnection() {
    v1::WorkerMessage message;
    message.mutable_fault()->set_epoch(epoch_);
    message.mutable_fault()->set_neighbour_unreachable(true);
    group_.engine().Take(StageMessageEvent{group_.stage(1), std::move(message)}, group_.now());
    group_.Pass(absl::Milliseconds(1));
  }
  void Beat(const std::shared_ptr<SimulatedStage>& stage, uint64_t finished,
            std::optional<absl::Duration> waited) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_epoch(epoch_);
    message.mutable_heartbeat()->set_step_id(finished);
    if (waited.has_value()) {
      v1::NeighbourWait* wait = message.mutable_heartbeat()->mutable_wait();
      wait->set_frames(v1::AWAITED_FRAMES_HIDDEN_STATES);
      wait->set_step_id(1);
      wait->set_waited_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(*waited)));
    }
    group_.engine().Take(StageMessageEvent{stage, std::move(message)}, group_.now());
  }
  // The epoch's first step reaches stage 0 and no further. How long that took to be noticed.
  absl::Duration CutLink() {
    const auto cut_off = group_.stage(1);
    const auto sender = group_.stage(0);
    while (!sender->inbox.front().has_step()) group_.StepStage(0);
    group_.StepStage(0);
    const MonotonicTime sent = group_.now();
    while (!cut_off->closed.has_value() && ElapsedSince(sent, group_.now()) < absl::Seconds(30)) {
      group_.Pass(absl::Milliseconds(25));
      Beat(sender, 1, std::nullopt);
      Beat(cut_off, 0, ElapsedSince(sent, group_.now()));
    }
    EXPECT_FALSE(sender->closed.has_value());
    const absl::Duration taken = ElapsedSince(sent, group_.now());
    group_.Pass(absl::Milliseconds(1));
    return taken;
  }
  // The group is complete again; its first steps are with the stages.
  void Rejoin() {
    group_.AddStage(1);
    ++epoch_;
    while (!state_->last.ready()) {
      ASSERT_TRUE(group_.StepStage(0) || group_.StepStage(1));
    }
  }
  size_t NumRowsOfNextStep() {
    for (const v1::SchedulerMessage& message : group_.stage(0)->inbox) {
      if (message.has_step()) return static_cast<size_t>(message.step().chunks_size());
    }
    return 0;
  }

  std::unique_ptr<RecoveryLog> log_;
  uint64_t epoch_ = 1;

 private:
  StepEngineLink(absl::Duration heartbeat_timeout, std::unique_ptr<RecoveryLog> log)
      : StepEngineTest({.heartbeat_timeout = heartbeat_timeout, .observer = log.get()}),
        log_(std::move(log)) {}
};

class StepEngineShortTimeout : public StepEngineLink {
 protected:
  StepEngineShortTimeout() : StepEngineLink(absl::Milliseconds(500)) {}
};

// Frames that were lost once or twice come a little later.
TEST_F(StepEngineShortTimeout, ALinkHasASecondAllTheSame) {
  Complete();
  const SequenceId id = SubmitSmall();
  const absl::Duration taken = CutLink();
  EXPECT_GE(taken, absl::Seconds(1));
  EXPECT_LE(taken, absl::Milliseconds(1100));
  group_.AddStage(1);
  group_.Settle();
  ExpectAnswered(id);
}

// Neither is at fault: the epoch ends within 1.1 s, and the same workers begin the next.
TEST_F(StepEngineLink, LosesAStageThatItsNeighboursFramesDoNotReach) {
  Complete();
  const auto cut_off = group_.stage(1);
  const SequenceId id = SubmitSmall();
  EXPECT_LE(CutLink(), absl::Milliseconds(1100));
  ASSERT_TRUE(cut_off->closed.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*cut_off->closed));
  EXPECT_EQ(state_->last.epoch(), 2u);
  EXPECT_EQ(log_->losses, std::vector<LossCause>{LossCause::kLink});
  group_.AddStage(1);
  group_.Settle();
  Beat(group_.stage(1), 0, absl::Seconds(5));  // of the epoch before this one
  EXPECT_FALSE(group_.stage(1)->closed.has_value());
  ExpectAnswered(id);
}

// A cut link is no request's fault, however often it strikes before the next token.
TEST_F(StepEngineLink, CutTwiceConvictsNoLoneRequest) {
  Complete();
  const SequenceId id = group_.Submit(SimulatedGroup::MakeRequest(100, 6, 5));
  for (int cut = 0; cut < 2; ++cut) {
    CutLink();
    Rejoin();
  }
  EXPECT_EQ(group_.caller(id).num_finishes, 0);
  EXPECT_TRUE(group_.caller(id).tokens.empty());
  group_.Settle();
  ExpectAnswered(id);
}

TEST_F(StepEngineLink, CutTwiceMakesNobodyRunAlone) {
  Complete();
  std::vector<SequenceId> ids;
  for (uint64_t seed = 1; seed <= 8; ++seed) ids.push_back(SubmitSmall(seed));
  for (int cut = 0; cut < 2; ++cut) {
    CutLink();
    Rejoin();
    EXPECT_GT(NumRowsOfNextStep(), 1u) << "after cut " << cut + 1;
  }
  group_.Settle();
  for (const SequenceId id : ids) ExpectAnswered(id);
}

// A link that passes the way of joining but not what a step sends would end every epoch for all.
TEST_F(StepEngineLink, CutForLongEndsTheRequestsThatItDoesNotCarry) {
  Complete();
  const SequenceId id = group_.Submit(SimulatedGroup::MakeRequest(100, 6, 5));
  for (int cut = 0; cut < 6; ++cut) {
    ASSERT_EQ(group_.caller(id).num_finishes, 0) << cut;
    CutLink();
    Rejoin();
  }
  ASSERT_EQ(group_.caller(id).num_finishes, 1);
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(id).status)) << *group_.caller(id).status;
  EXPECT_GE(group_.caller(id).retry_after, absl::Seconds(1)) << "it is no conviction";
  EXPECT_EQ(group_.caller(id).reason, v1::FINISH_REASON_ERROR);
  const SequenceId next = SubmitSmall();
  group_.Settle();
  ExpectAnswered(next);
}

// Else a group that has become slow for one link looks like any other.
TEST_F(StepEngineLink, CutForLongSaysOnceThatRequestsRunOneByOne) {
  for (uint64_t seed = 1; seed <= 3; ++seed) SubmitSmall(seed);
  group_.AddStage(0);
  epoch_ = 0;
  Rejoin();
  testing::internal::CaptureStderr();
  for (int cut = 0; cut < 5; ++cut) {
    CutLink();
    Rejoin();
  }
  EXPECT_EQ(NumRowsOfNextStep(), 1u);
  CutLink();  // ends the one that ran alone; the others run alone already
  const std::string log = testing::internal::GetCapturedStderr();
  const size_t said = log.find("3 requests run one by one");
  ASSERT_NE(said, std::string::npos) << log;
  EXPECT_EQ(log.find("run one by one", said + 20), std::string::npos) << log;
  const std::string line = log.substr(said, log.find('\n', said) - said);
  EXPECT_NE(line.find("from stage 0 to stage 1"), std::string::npos) << line;
}

// A machine that is gone is no cut link, though its neighbour finds out before the scheduler does.
TEST_F(StepEngineLink, AConnectionThatBreaksWhileTheOtherEndIsSilentIsNoCutLink) {
  Complete();
  SubmitSmall();
  group_.stage(0)->frozen = true;
  for (int beat = 0; beat < 3; ++beat) group_.Pass(absl::Milliseconds(250));
  BreakConnection();
  EXPECT_EQ(log_->losses, std::vector<LossCause>{LossCause::kStage});
}

// What the loop comes late by is not the other end's silence.
TEST_F(StepEngineLink, AConnectionThatBreaksWhileTheLoopIsLateIsACutLink) {
  Complete();
  SubmitSmall();
  v1::WorkerMessage message;
  message.mutable_fault()->set_epoch(epoch_);
  message.mutable_fault()->set_neighbour_unreachable(true);
  const MonotonicTime late = group_.now() + absl::Milliseconds(850);
  group_.engine().Take(StageMessageEvent{group_.stage(1), std::move(message)}, late);
  EXPECT_EQ(log_->losses, std::vector<LossCause>{LossCause::kLink});
}

// The same where the transport itself says that the connection broke, and no worker died of it.
TEST_F(StepEngineLink, BrokenTwiceConvictsNoLoneRequest) {
  Complete();
  const SequenceId id = group_.Submit(SimulatedGroup::MakeRequest(100, 6, 5));
  for (int times = 0; times < 2; ++times) {
    BreakConnection();
    Rejoin();
  }
  group_.Settle();
  ExpectAnswered(id);
  EXPECT_EQ(log_->losses, (std::vector<LossCause>{LossCause::kLink, LossCause::kLink}));
}

TEST_F(StepEngineLink, AWorkerThatFindsItsNeighboursNotIsCountedAsSuch) {
  Complete();
  SubmitSmall();
  CutLink();
  group_.AddStage(1);
  while (state_->last.stages(1).phase() != v1::STAGE_PHASE_JOINING) {
    ASSERT_TRUE(group_.StepStage(0) || group_.StepStage(1));
  }
  v1::WorkerMessage message;
  message.mutable_fault()->set_epoch(2);
  group_.engine().Take(StageMessageEvent{group_.stage(1), std::move(message)}, group_.now());
  EXPECT_EQ(log_->losses, (std::vector<LossCause>{LossCause::kLink, LossCause::kJoin}));
}

}  // namespace
}  // namespace baton::scheduler
