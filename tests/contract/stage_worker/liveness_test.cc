// When a worker says of itself that it hangs.
#include <atomic>
#include <memory>

#include "absl/strings/match.h"
#include "absl/time/clock.h"

#include "common/transport/slot_channel.h"
#include "common/transport/transport.h"
#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

class Liveness : public WorkerFixture {
 protected:
  // Long after any limit.
  absl::Status CheckLater() { return membership().CheckAlive(absl::Now() + absl::Hours(1)); }

  // Waits until CheckLater says whether the worker is alive.
  void AwaitLater(bool alive) {
    WaitUntil([&] { return CheckLater().ok() == alive; });
  }
  void ExpectAlive() {
    AwaitLater(true);
    EXPECT_TRUE(CheckLater().ok()) << CheckLater();
  }
  void ExpectHang(const char* who) {
    AwaitLater(false);
    const absl::Status late = CheckLater();
    EXPECT_TRUE(absl::IsUnavailable(late)) << late;
    EXPECT_TRUE(absl::StrContains(late.message(), who)) << late;
    EXPECT_TRUE(membership().CheckAlive(absl::Now()).ok()) << "it has had no time yet";
  }
};

TEST_F(Liveness, IsNotInDoubtWhileThereIsNothingToDo) {
  StartWorker();
  EXPECT_TRUE(CheckLater().ok()) << CheckLater();
  Register(Plan(0, 1));
  Join(1);
  ExpectAlive();
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
  ExpectAlive();
}

TEST_F(Liveness, EndsWithADeviceThatFinishesNoStep) {
  constexpr SlotShape kStateSlots = {
      .num_slots = 2, .num_ranks = 2, .max_part_bytes = 64 * 128 * 2};
  const auto previous = *Transport::Create({.name = "previous"});
  StartWorker();
  v1::StageReady ready;
  Register(Plan(1, 2), &ready);
  Join(1, "", previous->address());
  ExpectAlive();
  scheduler().Send(PromptStep(1, 1));  // its hidden states do not come
  ExpectHang("a device");

  const auto deadline = absl::Now() + absl::Seconds(20);
  const auto peer = *previous->Connect(ready.addresses(0).ucx_address(), deadline);
  const auto sender = *SlotSender::Create(previous.get(), kStateSlots);
  ASSERT_TRUE(sender->BeginEpoch(1, {peer, peer}).ok());
  for (size_t rank = 0; rank < 2; ++rank) {
    const PartKey key = {.epoch = 1, .number = 1, .step_id = 1, .rank = rank};
    ASSERT_TRUE(sender->Acquire(key, 3 * 128 * 2, deadline).ok());
    ASSERT_TRUE(sender->Send(key).ok());
  }
  TakeToken(1, 1);
  ExpectAlive();
}

TEST_F(Liveness, EndsWithAControlThreadThatFinishesNoEvent) {
  std::atomic<bool> silent{true};
  const auto next = *Transport::Create(
      {.name = "next", .lose = [&silent](const FrameHeader&) { return silent.load(); }});
  StartWorker();
  Register(Plan(0, 2));
  SendTopology(1, next->address());  // it answers no hello
  ExpectHang("the control thread");

  silent = false;
  EXPECT_TRUE(scheduler().Next(v1::WorkerMessage::kJoined).ok());
  ExpectAlive();
}

TEST_F(Liveness, LastsAsLongAsLoadingTakes) {
  loader().HoldLoads();
  StartWorker();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  WaitUntil([this] { return loader().num_loads() > 0; });
  ASSERT_EQ(loader().num_loads(), 1);
  EXPECT_TRUE(CheckLater().ok()) << CheckLater();
  loader().ReleaseLoads();
  EXPECT_TRUE(scheduler().Next(v1::WorkerMessage::kReady).ok());
}

}  // namespace
}  // namespace baton::stage
