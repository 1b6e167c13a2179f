// Steps that begin with tokens of steps before them: the stage-worker's side, over real gRPC and
// UCX.
#include <cstring>

#include "absl/strings/match.h"
#include "absl/time/clock.h"

#include "common/transport/slot_channel.h"
#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

absl::Time FeedbackDeadline() { return absl::Now() + absl::Seconds(20); }

constexpr SlotShape kStates = {.num_slots = 2, .num_ranks = 2, .max_part_bytes = 64 * 128 * 2};
constexpr size_t kRowBytes = 128 * 2;  // half of the hidden size, bfloat16
constexpr SlotShape kTokens = {
    .num_slots = 4, .num_ranks = 1, .max_part_bytes = 32, .content = SlotContent::kTokens};

using OneStage = WorkerFixture;

// A decode of sequence 1 whose token the scheduler knows.
v1::SchedulerMessage ToldStep(v1::SchedulerMessage fed, uint32_t token) {
  fed.mutable_step()->mutable_chunks(0)->clear_feedback_step_id();
  fed.mutable_step()->mutable_chunks(0)->add_appended_token_ids(token);
  return fed;
}

TEST_F(OneStage, SamplesTheSameWhetherATokenIsToldOrFedBack) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  const uint32_t first = TakeToken(1, 1);
  scheduler().Send(ToldStep(FedStep(1, 2, 1, 3, 1), first));
  const uint32_t second = TakeToken(1, 2, 4);
  Join(2);
  scheduler().Send(PromptStep(2, 1));
  scheduler().Send(FedStep(2, 2, 1, 3, 1));
  EXPECT_EQ(TakeToken(2, 1), first);
  EXPECT_EQ(TakeToken(2, 2, 4), second);
}

TEST_F(OneStage, ReportsATokenFedBackFromAStepThatDoesNotSampleIt) {
  StartWorker();
  Register(Plan(0, 1));
  Join(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
  scheduler().Send(FedStep(1, 2, 1, 3, 7));
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "fed back")) << fault->fault().message();
}

// Stage 0 of 2; the test is the last stage.
class FirstStage : public WorkerFixture {
 protected:
  FirstStage()
      : last_(*Transport::Create({.name = "last"})),
        states_(*SlotReceiver::Create(last_.get(), kStates)),
        tokens_(*SlotSender::Create(last_.get(), kTokens)) {
    StartWorker();
    v1::StageReady ready;
    Register(Plan(0, 2), &ready);
    address_ = ready.addresses(0).ucx_address();
    Begin(1);
  }

  void Begin(uint64_t epoch) {
    ASSERT_TRUE(states_->EndEpoch(FeedbackDeadline()).ok());
    ASSERT_TRUE(tokens_->EndEpoch(FeedbackDeadline()).ok());
    ASSERT_TRUE(states_->BeginEpoch(epoch).ok());
    Join(epoch, last_->address());
    const auto peer = *last_->Connect(address_, FeedbackDeadline());
    ASSERT_TRUE(tokens_->BeginEpoch(epoch, {peer}).ok());
  }
  // What the stage sends of a step with `num_rows` rows.
  std::vector<std::byte> TakeStates(uint64_t epoch, uint64_t step_id, size_t num_rows) {
    std::vector<std::byte> states;
    for (size_t rank = 0; rank < 2; ++rank) {
      const PartKey key = {.epoch = epoch, .number = step_id, .step_id = step_id, .rank = rank};
      const auto part = states_->Receive(key, num_rows * kRowBytes, FeedbackDeadline());
      EXPECT_TRUE(part.ok()) << part.status();
      if (!part.ok()) return {};
      states.insert(states.end(), part->begin(), part->end());
      states_->Release(key);
    }
    return states;
  }
  void SendToken(uint64_t epoch, uint64_t step_id, uint32_t token) {
    const PartKey key = {.epoch = epoch, .number = step_id, .step_id = step_id};
    const auto part = tokens_->Acquire(key, sizeof(token), FeedbackDeadline());
    ASSERT_TRUE(part.ok()) << part.status();
    std::memcpy(part->data(), &token, sizeof(token));
    ASSERT_TRUE(tokens_->Send(key).ok());
  }
  void TakeReport() { ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kReport).ok()); }

  const std::unique_ptr<Transport> last_;
  const std::unique_ptr<SlotReceiver> states_;
  const std::unique_ptr<SlotSender> tokens_;
  std::string address_;
};

TEST_F(FirstStage, TellsThatItWaitsForTokens) {
  scheduler().Send(PromptStep(1, 1));
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  EXPECT_TRUE(scheduler().WaitForHeartbeat([](const v1::Heartbeat& beat) {
    return beat.wait().frames() == v1::AWAITED_FRAMES_TOKENS && beat.wait().step_id() == 1;
  }));
  // A worker that is stopped finishes its steps first.
  TakeReport();
  TakeStates(1, 1, 3);
  SendToken(1, 1, 77);
  TakeStates(1, 2, 1);
}

TEST_F(FirstStage, EmbedsTheTokenThatTheLastStageSends) {
  scheduler().Send(PromptStep(1, 1));
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  TakeReport();
  TakeStates(1, 1, 3);
  SendToken(1, 1, 77);
  const std::vector<std::byte> fed = TakeStates(1, 2, 1);
  TakeReport();
  Begin(2);
  scheduler().Send(PromptStep(2, 1));
  TakeReport();
  TakeStates(2, 1, 3);
  SendToken(2, 1, 77);
  scheduler().Send(ToldStep(FedStep(2, 2, 1, 3, 1), 77));
  EXPECT_EQ(TakeStates(2, 2, 1), fed);
}

TEST_F(FirstStage, GoesOnAfterASequenceThatFailedDownstream) {
  scheduler().Send(PromptStep(1, 1));
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  TakeReport();
  TakeStates(1, 1, 3);
  SendToken(1, 1, UINT32_MAX);
  EXPECT_FALSE(TakeStates(1, 2, 1).empty());
  TakeReport();
}

TEST_F(FirstStage, TakesInTokensThatNoStepNeeds) {
  for (uint64_t step = 1; step <= 8; ++step) {
    scheduler().Send(PromptStep(1, step));
    TakeReport();
    TakeStates(1, step, 3);
    SendToken(1, step, 77);
  }
}

TEST_F(FirstStage, KeepsItsPlaceWhenTheLastStageIsLostWhileItWaitsForATokenOfIt) {
  scheduler().Send(PromptStep(1, 1));
  TakeReport();
  TakeStates(1, 1, 3);
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  Begin(2);  // the scheduler saw the loss first
  scheduler().Send(PromptStep(2, 1));
  TakeReport();
  EXPECT_EQ(scheduler().num_sessions(), 1);
}

TEST_F(FirstStage, ReportsATokenThatIsNone) {
  scheduler().Send(PromptStep(1, 1));
  TakeReport();
  TakeStates(1, 1, 3);
  SendToken(1, 1, 1u << 30);
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "vocabulary"));
}

// Stage 1 of 2; the test is the first stage.
TEST_F(OneStage, SendsItsTokensToTheFirstStage) {
  const auto first = *Transport::Create({.name = "first"});
  const auto states = *SlotSender::Create(first.get(), kStates);
  const auto tokens = *SlotReceiver::Create(first.get(), kTokens);
  ASSERT_TRUE(tokens->BeginEpoch(1).ok());
  StartWorker();
  v1::StageReady ready;
  Register(Plan(1, 2), &ready);
  Join(1, "", first->address());
  const auto peer = *first->Connect(ready.addresses(0).ucx_address(), FeedbackDeadline());
  ASSERT_TRUE(states->BeginEpoch(1, {peer, peer}).ok());
  const auto send_rows = [&](uint64_t step_id, size_t num_rows) {
    for (size_t rank = 0; rank < 2; ++rank) {
      const PartKey key = {.epoch = 1, .number = step_id, .step_id = step_id, .rank = rank};
      ASSERT_TRUE(states->Acquire(key, num_rows * kRowBytes, FeedbackDeadline()).ok());
      ASSERT_TRUE(states->Send(key).ok());
    }
  };
  scheduler().Send(PromptStep(1, 1));
  scheduler().Send(FedStep(1, 2, 1, 3, 1));
  for (uint64_t step = 1; step <= 2; ++step) {
    send_rows(step, step == 1 ? 3 : 1);
    const uint32_t reported = TakeToken(1, step, step == 1 ? 3 : 4);
    const PartKey key = {.epoch = 1, .number = step, .step_id = step};
    const auto part = tokens->Receive(key, sizeof(uint32_t), FeedbackDeadline());
    ASSERT_TRUE(part.ok()) << part.status();
    uint32_t sent = 0;
    std::memcpy(&sent, part->data(), sizeof(sent));
    EXPECT_EQ(sent, reported);
    tokens->Release(key);
  }
}

TEST_F(OneStage, ReportsAFirstStageThatCannotBeReached) {
  options().connect_timeout = absl::Seconds(1);
  StartWorker();
  Register(Plan(1, 2));
  SendTopology(1, "");
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "first stage"))
      << fault->fault().message();
}

}  // namespace
}  // namespace baton::stage
