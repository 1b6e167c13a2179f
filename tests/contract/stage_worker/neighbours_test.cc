// A stage-worker and its neighbours in the pipeline: hidden states over real UCX, and what follows
// when a neighbour is lost. The test plays the neighbour.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"

#include "common/concurrency/steady_time.h"
#include "common/transport/slot_channel.h"
#include "services/stage_worker/clients/link_epoch.h"
#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

// The neighbour of the worker under test.
constexpr SlotShape kShape = {.num_slots = 2, .num_ranks = 2, .max_part_bytes = 64 * 128 * 2};
constexpr size_t kPartBytes = 3 * 128 * 2;  // three tokens, half of the hidden size, bfloat16

// Stage 0 of 2, and the stage after it.
class StageNeighbours : public WorkerFixture {
 protected:
  void StartNext(uint64_t epoch) {
    next_ = *Transport::Create({.name = "next"});
    slots_ = *SlotReceiver::Create(next_.get(), kShape);
    EXPECT_TRUE(slots_->BeginEpoch(epoch).ok());
  }
  void StartWithNext() {
    StartNext(1);
    StartWorker();
    Register(Plan(0, 2));
    Join(1, next_->address());
  }
  // And lets the worker find out.
  void LoseNext() {
    slots_.reset();
    next_.reset();
    scheduler().Send(PromptStep(1, 1));
    scheduler().Send(PromptStep(1, 2));
  }
  // The next answer of that kind, behind reports of steps that were done before the loss.
  absl::StatusOr<v1::WorkerMessage> NextBehindReports(v1::WorkerMessage::MessageCase kind) {
    auto message = scheduler().Next(kind);
    while (absl::IsFailedPrecondition(message.status()) &&
           absl::StrContains(message.status().message(), "report {")) {
      message = scheduler().Next(kind);
    }
    return message;
  }
  // After LoseNext: there is a next stage again, and the worker, which has not registered anew.
  void ExpectJoinsAnotherNext() {
    StartNext(2);
    SendTopology(2, next_->address());
    const auto message = NextBehindReports(v1::WorkerMessage::kJoined);
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->joined().epoch(), 2u);
    EXPECT_EQ(scheduler().num_sessions(), 1);
  }

  std::unique_ptr<Transport> next_;
  std::unique_ptr<SlotReceiver> slots_;
};

TEST_F(StageNeighbours, SendsHiddenStatesToTheNextStage) {
  StartWithNext();
  scheduler().Send(PromptStep(1, 1));
  for (size_t rank = 0; rank < 2; ++rank) {
    const PartKey key = {.epoch = 1, .number = 1, .step_id = 1, .rank = rank};
    const auto part = slots_->Receive(key, kPartBytes, Soon());
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_NE(std::count((*part).begin(), (*part).end(), std::byte{0}),
              static_cast<ptrdiff_t>(kPartBytes));
    slots_->Release(key);
  }
  const auto report = scheduler().Next(v1::WorkerMessage::kReport);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->report().tokens_size(), 0);
}

TEST_F(StageNeighbours, TellsThatItWaitsForLeaveToSend) {
  StartWithNext();
  for (const uint64_t step_id : {1u, 2u, 3u}) {
    v1::SchedulerMessage step = PromptStep(1, step_id);
    step.mutable_step()->mutable_chunks(0)->set_sample(false);  // no token is to come back
    scheduler().Send(std::move(step));
    if (step_id == 3) break;  // both slots are taken
    ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kReport).ok());
  }
  // A beat may fall into the moment in which an earlier step asks for its slot.
  EXPECT_TRUE(scheduler().WaitForHeartbeat([](const v1::Heartbeat& beat) {
    return beat.wait().frames() == v1::AWAITED_FRAMES_CREDIT && beat.wait().step_id() == 3 &&
           beat.step_id() == 2;
  }));
}

TEST_F(StageNeighbours, KeepsItsPlaceWhenTheNextStageIsLost) {
  StartWithNext();
  LoseNext();
  ASSERT_TRUE(WaitUntil([this] { return !membership().snapshot().joined; }));
  ExpectJoinsAnotherNext();
}

TEST_F(StageNeighbours, RegistersAgainWhenTheNextStageStaysLost) {
  options().step_timeout = absl::Milliseconds(300);
  StartWithNext();
  LoseNext();
  const auto message = NextBehindReports(v1::WorkerMessage::kFault);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message->fault().neighbour_unreachable()) << message->fault().message();
  Register(Plan(0, 2));
  EXPECT_EQ(loader().num_loads(), 1);
}

// A stage that is started again may load for minutes.
TEST_F(StageNeighbours, KeepsItsPlaceForAsLongAsTheSchedulerKnowsOfALoss) {
  options().step_timeout = absl::Seconds(2);
  StartWithNext();
  v1::SchedulerMessage heartbeat;
  heartbeat.mutable_heartbeat()->set_epoch(2);
  scheduler().Send(heartbeat);
  LoseNext();
  ASSERT_TRUE(WaitUntil([this] { return !membership().snapshot().joined; }));
  // Without it the worker would have given up by then.
  const absl::Time given_up =
      SteadyNow() + options().step_timeout + 2 * options().heartbeat_interval;
  ASSERT_TRUE(scheduler().WaitForHeartbeat(
      [given_up](const v1::Heartbeat&) { return SteadyNow() > given_up; }));
  ExpectJoinsAnotherNext();
}

TEST_F(StageNeighbours, ReportsANextStageThatCannotBeReached) {
  std::string address;
  {
    const auto gone = *Transport::Create({.name = "gone"});
    address = gone->address();
  }
  options().connect_timeout = absl::Seconds(1);
  StartWorker();
  Register(Plan(0, 2));
  SendTopology(1, address);
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "next stage"))
      << fault->fault().message();
  Register(Plan(0, 2));
}

// Stage 1 of 2, and the stage before it.
class LastStageWorker : public WorkerFixture {
 protected:
  LastStageWorker() : previous_(*Transport::Create({.name = "previous"})) {
    StartWorker();
    v1::StageReady ready;
    Register(Plan(1, 2), &ready);
    Join(1, "", previous_->address());
    peer_ = *previous_->Connect(ready.addresses(0).ucx_address(), Soon());
  }

  // Hidden states of step 1.
  void SendStates(uint64_t frame_epoch) {
    const auto sender = *SlotSender::Create(previous_.get(), kShape);
    ASSERT_TRUE(sender->BeginEpoch(frame_epoch, {peer_, peer_}).ok());
    for (size_t rank = 0; rank < 2; ++rank) {
      const PartKey key = {.epoch = frame_epoch, .number = 1, .step_id = 1, .rank = rank};
      ASSERT_TRUE(sender->Acquire(key, kPartBytes, Soon()).ok());
      ASSERT_TRUE(sender->Send(key).ok());
    }
  }
  // What would be hidden states of step 1, were it the right epoch.
  void SendStrayFrame(uint64_t frame_epoch) {
    const std::vector<std::byte> payload(2 * kPartBytes);
    absl::Notification sent;
    peer_->Send({.kind = FrameKind::kHiddenState,
                 .epoch = frame_epoch,
                 .stream_id = 1,
                 .sequence = 1,
                 .total_bytes = payload.size(),
                 .slot = 1},
                payload, [&sent](const absl::Status&) { sent.Notify(); });
    sent.WaitForNotification();
  }

  std::unique_ptr<Transport> previous_;
  std::shared_ptr<Peer> peer_;
};

TEST_F(LastStageWorker, TakesHiddenStatesAndSamples) {
  scheduler().Send(PromptStep(1, 1));
  SendStates(1);
  TakeToken(1, 1);
}

TEST_F(LastStageWorker, TellsHowLongItHasWaitedForHiddenStates) {
  EXPECT_TRUE(scheduler().WaitForHeartbeat([](const v1::Heartbeat& beat) {
    return beat.epoch() == 1 && !beat.has_wait();
  })) << "it waits before there is a step";
  scheduler().Send(PromptStep(1, 1));
  EXPECT_TRUE(scheduler().WaitForHeartbeat([](const v1::Heartbeat& beat) {
    return beat.epoch() == 1 && beat.step_id() == 0 && beat.wait().waited_ms() > 400 &&
           beat.wait().frames() == v1::AWAITED_FRAMES_HIDDEN_STATES && beat.wait().step_id() == 1;
  }));
  SendStates(1);
  TakeToken(1, 1);
  EXPECT_TRUE(scheduler().WaitForHeartbeat(
      [](const v1::Heartbeat& beat) { return beat.step_id() == 1 && !beat.has_wait(); }));
}

TEST_F(LastStageWorker, ReportsHiddenStatesWithAFlippedBit) {
  const std::vector<std::byte> payload(2 * kPartBytes, std::byte{1});
  scheduler().Send(PromptStep(1, 1));
  peer_->Send({.kind = FrameKind::kHiddenState,
               .epoch = 1,
               .stream_id = 1,
               .sequence = 1,
               .total_bytes = payload.size(),
               .slot = 1,
               .payload_crc = 99},
              payload, nullptr, /*has_payload_crc=*/true);
  const auto fault = scheduler().Next(v1::WorkerMessage::kFault);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_TRUE(absl::StrContains(fault->fault().message(), "checksum")) << fault->fault().message();
  EXPECT_FALSE(fault->fault().neighbour_unreachable());
  Register(Plan(1, 2));
}

TEST_F(LastStageWorker, CountsFramesOfAnotherEpoch) {
  SendStrayFrame(99);
  SendStates(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
  EXPECT_EQ(membership().snapshot().transport.frames_refused, 1u);
}

// Frames may outlive the scheduler whose epoch they are of; its successor counts from 1 again.
TEST_F(LastStageWorker, DropsFramesOfAnEpochThatAnotherSchedulerNumberedAlike) {
  for (const uint32_t nonce : {7u, 8u}) {
    scheduler().EndSession(grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down"));
    set_scheduler_nonce(nonce);
    Register(Plan(1, 2));
    Join(1, "", previous_->address());
  }
  SendStrayFrame(*FrameEpoch(7, 1));
  EXPECT_TRUE(WaitUntil([this] { return membership().snapshot().transport.frames_refused == 1; }));
  SendStates(*FrameEpoch(8, 1));
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
  EXPECT_EQ(membership().snapshot().transport.frames_refused, 1u);
}

}  // namespace
}  // namespace baton::stage
