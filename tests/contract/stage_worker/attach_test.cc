// The stage-worker's side of Stage.Attach and Loading, against fakes over real gRPC and UCX.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/rpc/peer.h"
#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

class StageWorker : public WorkerFixture {
 protected:
  // The second load asked for everything that the first did but its beginning, and nothing twice.
  void ExpectAskedAgainFor(size_t first_missing) {
    const auto loads = loader().loads();
    ASSERT_EQ(loads.size(), 2u);
    ASSERT_GT(loads[0].size(), first_missing);
    EXPECT_EQ(loads[1], std::vector<std::string>(loads[0].begin() + first_missing, loads[0].end()));
  }
};

TEST_F(StageWorker, RegistersLoadsJoinsAndReportsAStep) {
  options().stage_index = 0;
  StartWorker();
  v1::StageReady ready;
  Register(Plan(0, 1), &ready);
  EXPECT_GT(ready.weight_bytes(), 0u);
  Join(1);
  EXPECT_TRUE(membership().snapshot().joined);
  scheduler().Send(PromptStep(1, 1));
  const uint32_t token = TakeToken(1, 1);
  scheduler().Send(PromptStep(1, 2));
  EXPECT_EQ(TakeToken(1, 2), token);
  const StageSnapshot snapshot = membership().snapshot();
  EXPECT_EQ(snapshot.epoch, 1u);
  EXPECT_EQ(snapshot.num_sequences, 2u);
  EXPECT_EQ(snapshot.num_used_blocks, 2u);
  EXPECT_EQ(snapshot.num_total_blocks, 8u);
  EXPECT_EQ(snapshot.transport.frames_refused, 0u);
}

TEST_F(StageWorker, RegistersWithItsFormOfAttention) {
  options().expands_prompts = true;
  StartWorker();
  const auto message = scheduler().Next(v1::WorkerMessage::kRegister);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message->register_().expands_prompts());
}

TEST_F(StageWorker, RegistersBeforeItsFirstHeartbeat) {
  options().heartbeat_interval = absl::Microseconds(50);
  StartWorker();
  for (int session = 0; session < 5; ++session) {
    ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
    scheduler().EndSession(grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down"));
  }
  EXPECT_EQ(scheduler().num_early_messages(), 0);
}

TEST_F(StageWorker, EndsWhenItsVersionIsRefused) {
  scheduler().Refuse(
      grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                   "the stage-worker speaks protocol version 1.0, this scheduler version 2.0"));
  StartWorker();
  const absl::Status end = WaitForEnd();
  EXPECT_EQ(end.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(end.message(), "version 1.0, this scheduler version 2.0")) << end;
}

TEST_F(StageWorker, TriesAgainWhileItsStageIsTaken) {
  scheduler().Refuse(grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "stage 0 has a live worker"));
  StartWorker();
  EXPECT_TRUE(scheduler().WaitForRefusal());
  scheduler().Refuse(grpc::Status::OK);
  Register(Plan(0, 1));
}

TEST_F(StageWorker, TriesAgainWhileAnotherStageHasAnotherForm) {
  scheduler().Refuse(grpc::Status(grpc::StatusCode::ABORTED, "stage 1 has the absorbed form"));
  StartWorker();
  EXPECT_TRUE(scheduler().WaitForRefusal());
  scheduler().Refuse(grpc::Status::OK);
  Register(Plan(0, 1));
}

TEST_F(StageWorker, EndsWhenTheLoaderSpeaksAnotherVersion) {
  loader().set_protocol_major(9);
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "9.")) << fault->fault().message();
  const std::string own = absl::StrCat("speaks ", kProtocolMajor, ".", kProtocolMinor);
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), own)) << fault->fault().message();
  EXPECT_EQ(WaitForEnd().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(StageWorker, EndsWhenThePlanIsForAnotherModel) {
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  v1::SchedulerMessage plan = Plan(0, 1);
  plan.mutable_plan()->set_model_fingerprint("0123");
  scheduler().Send(plan);
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  const absl::Status end = WaitForEnd();
  EXPECT_EQ(end.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(end.message(), "0123")) << end;
  EXPECT_TRUE(absl::StrContains(end.message(), ModelFingerprint(config_json()))) << end;
}

TEST_F(StageWorker, EndsWhenThePlanHasOtherRanks) {
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  v1::SchedulerMessage plan = Plan(0, 1);
  plan.mutable_plan()->set_num_ranks(4);
  scheduler().Send(plan);
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kFault).ok());
  EXPECT_EQ(WaitForEnd().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StageWorker, EndsWhenTheKvCacheDoesNotFit) {
  options().memory_bytes = 8 << 20;
  options().kv_cache_bytes = 0;
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kFault).ok());
  const absl::Status end = WaitForEnd();
  EXPECT_EQ(end.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(end.message(), "8388608")) << end;
}

// Who shows how far a load is must not take one call for all of it.
TEST_F(StageWorker, SaysInEachCallHowMuchTheStageNeedsAndHas) {
  options().max_slices_per_load = 40;
  StartWorker();
  Register(Plan(0, 1));
  const auto shares = loader().shares();
  ASSERT_GE(shares.size(), 2u);
  uint64_t held = 0;
  for (const fakes::LoadShare& share : shares) {
    EXPECT_EQ(share.held_bytes, held);
    EXPECT_EQ(share.stage_bytes, shares[0].stage_bytes);
    held += share.asked_bytes;
  }
  EXPECT_EQ(held, shares[0].stage_bytes);
  EXPECT_EQ(membership().snapshot().loaded_bytes, held);
  EXPECT_EQ(membership().snapshot().load_total_bytes, held);
}

TEST_F(StageWorker, HasItsWeightsWhileItGetsReady) {
  loader().HoldVocabulary();
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  EXPECT_TRUE(loader().AwaitVocabularyCall());
  const StageSnapshot snapshot = membership().snapshot();
  EXPECT_GT(snapshot.load_total_bytes, 0u);
  EXPECT_EQ(snapshot.loaded_bytes, snapshot.load_total_bytes);
  loader().ReleaseVocabulary();
  EXPECT_TRUE(scheduler().Next(v1::WorkerMessage::kReady).ok());
}

TEST_F(StageWorker, LoadsTheRestAfterALostLoader) {
  loader().FailNextLoad(40, grpc::Status(grpc::StatusCode::UNAVAILABLE, "the loader died"));
  StartWorker();
  Register(Plan(0, 1));
  ExpectAskedAgainFor(40);
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
}

TEST_F(StageWorker, AsksOnceMoreForWhatArrivesDamaged) {
  loader().DamageNextLoad(40);
  StartWorker();
  Register(Plan(0, 1));
  ExpectAskedAgainFor(40);
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
}

TEST_F(StageWorker, LoadsTheRestInItsNextSession) {
  loader().FailNextLoad(40, grpc::Status(grpc::StatusCode::ABORTED, "the load was cut off"));
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kFault).ok());
  Register(Plan(0, 1));
  EXPECT_EQ(loader().num_loads(), 2);
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
}

TEST_F(StageWorker, BeginsAnewWhenALoaderOfAnotherCheckpointTakesOver) {
  loader().set_checkpoint_fingerprint("one");
  loader().FailNextLoad(40, grpc::Status(grpc::StatusCode::UNAVAILABLE, "the loader died"));
  loader().ReplaceAfterNextLoad("two");
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "another checkpoint"));
  Register(Plan(0, 1));
  // Nothing of the first one's is left.
  const std::vector<fakes::LoadShare> shares = loader().shares();
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_EQ(shares[1].held_bytes, 0u);
  EXPECT_EQ(shares[1].asked_bytes, shares[1].stage_bytes);
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
}

TEST_F(StageWorker, BeginsAnewWhenTheCheckpointIsAnotherOneInItsNextSession) {
  loader().set_checkpoint_fingerprint("one");
  loader().FailNextLoad(40, grpc::Status(grpc::StatusCode::ABORTED, "the load was cut off"));
  loader().ReplaceAfterNextLoad("two");
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kFault).ok());
  Register(Plan(0, 1));
  const std::vector<fakes::LoadShare> shares = loader().shares();
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_EQ(shares[1].held_bytes, 0u);
}

TEST_F(StageWorker, EndsWhenTheCheckpointIsDamaged) {
  loader().FailNextLoad(3, grpc::Status(grpc::StatusCode::DATA_LOSS,
                                        "model-1.safetensors: lm_head.weight at 17: truncated"));
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "lm_head.weight at 17"));
  EXPECT_EQ(WaitForEnd().code(), absl::StatusCode::kDataLoss);
}

TEST_F(StageWorker, ComesBackWithItsWeightsAfterALostScheduler) {
  StartWorker();
  Register(Plan(0, 1));
  Join(7);
  scheduler().Send(PromptStep(7, 1));
  const uint32_t token = TakeToken(7, 1);
  scheduler().EndSession(grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down"));
  Register(Plan(0, 1));
  EXPECT_EQ(loader().num_loads(), 1);
  Join(1);  // a scheduler that starts anew counts anew
  scheduler().Send(PromptStep(1, 1));
  EXPECT_EQ(TakeToken(1, 1), token);
}

TEST_F(StageWorker, LeavesASilentScheduler) {
  options().scheduler_timeout = absl::Milliseconds(300);
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  EXPECT_TRUE(scheduler().WaitForSessionEnd());
  EXPECT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
}

TEST_F(StageWorker, JoinsANewEpochInTheSameSession) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  const uint32_t token = TakeToken(1, 1);
  Join(2);
  scheduler().Send(PromptStep(1, 2));  // of the old epoch: dropped
  scheduler().Send(PromptStep(2, 1));
  EXPECT_EQ(TakeToken(2, 1), token);
  EXPECT_EQ(scheduler().num_sessions(), 1);
}

TEST_F(StageWorker, ReportsAStepThatCannotBeAndRegistersAgain) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  scheduler().Send(PromptStep(1, 5));  // not the next one
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "step 5")) << fault->fault().message();
  EXPECT_EQ(fault->fault().epoch(), 1u);
  Register(Plan(0, 1));
  EXPECT_FALSE(ready());
  Join(2);
  EXPECT_TRUE(ready());
}

TEST_F(StageWorker, RefusesSamplingValuesOutOfRange) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  v1::SchedulerMessage step = PromptStep(1, 1);
  step.mutable_step()->mutable_new_sequences(0)->mutable_sampling()->set_temperature(-1.0f);
  scheduler().Send(step);
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "temperature"))
      << fault->fault().message();
}

TEST_F(StageWorker, FinishesItsStepsWhenDrained) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  scheduler().Send(PromptStep(1, 2));
  v1::SchedulerMessage drain;
  drain.mutable_drain();
  scheduler().Send(drain);
  TakeToken(1, 1);
  TakeToken(1, 2);
  EXPECT_TRUE(scheduler().WaitForSessionEnd());
}

TEST_F(StageWorker, LeavesWhenStopped) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  EXPECT_TRUE(StopWorker().ok());
  EXPECT_TRUE(scheduler().WaitForSessionEnd());
  EXPECT_EQ(scheduler().num_sessions(), 1);
}

TEST_F(StageWorker, StopsWhileNobodyAnswers) {
  options().scheduler_address = "127.0.0.1:1";
  StartWorker();
  EXPECT_TRUE(StopWorker().ok());
}

}  // namespace
}  // namespace baton::stage
