// A partner in another process that is killed, frozen or silent.
#include <string>
#include <unistd.h>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/transport/chunk_sender.h"
#include "common/transport/slot_channel.h"
#include "common/transport/transport.h"
#include "tests/unit/common/transport/partner_program.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr SlotShape kShape = {.num_slots = 2, .num_ranks = 1, .max_part_bytes = 1 << 20};

TransportOptions Options(const char* name, const std::string& transports) {
  return {.name = name, .transports = transports, .net_devices = transports == "tcp" ? "lo" : ""};
}

// The partner's program: takes hidden states of epoch 1 for ever, releasing none, until its input
// ends.
int RunPartner(const std::string& transports) {
  const auto transport = Transport::Create(Options("partner", transports));
  if (!transport.ok()) return 1;
  const auto slots = SlotReceiver::Create(transport->get(), kShape);
  EXPECT_TRUE((*slots)->BeginEpoch(1).ok());
  if (!TellAddress((*transport)->address())) return 1;
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}

class LossWatcher final : public FrameReceiver {
 public:
  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader&) override {
    return absl::UnimplementedError("takes nothing");
  }
  void Complete(const FrameHeader&, const absl::Status&) override {}
  void PeerLost(uint64_t) override { lost_.Notify(); }
  bool Wait() { return lost_.WaitForNotificationWithTimeout(absl::Seconds(30)); }

 private:
  absl::Notification lost_;
};

class PeerDeathOver : public testing::TestWithParam<const char*> {
 protected:
  PeerDeathOver()
      : partner_(GetParam()), transport_(*Transport::Create(Options("survivor", GetParam()))) {
    peer_ = *transport_->Connect(partner_.address(), Soon());
  }

  PartnerProcess partner_;
  std::unique_ptr<Transport> transport_;
  std::shared_ptr<Peer> peer_;
};

INSTANTIATE_TEST_SUITE_P(Both, PeerDeathOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(PeerDeathOver, IsToldWhenAnIdlePartnerIsKilled) {
  LossWatcher watcher;
  transport_->SetReceiver(FrameKind::kWeightChunk, &watcher);
  partner_.Kill();
  EXPECT_TRUE(watcher.Wait());
  EXPECT_EQ(peer_->status().code(), absl::StatusCode::kUnavailable);
  transport_->SetReceiver(FrameKind::kWeightChunk, nullptr);
}

TEST_P(PeerDeathOver, StopsAtTheCreditsOfAPartnerThatReleasesNothing) {
  const auto sender = *SlotSender::Create(transport_.get(), kShape);
  ASSERT_TRUE(sender->BeginEpoch(1, {peer_}).ok());
  for (uint64_t number = 1; number <= 2; ++number) {
    const PartKey key = {.epoch = 1, .number = number, .step_id = number};
    ASSERT_TRUE(sender->Acquire(key, 100, Soon()).ok());
    ASSERT_TRUE(sender->Send(key).ok());
  }
  const auto third = sender->Acquire({.epoch = 1, .number = 3, .step_id = 3}, 100,
                                     absl::Now() + absl::Milliseconds(50));
  EXPECT_EQ(third.status().code(), absl::StatusCode::kDeadlineExceeded) << third.status();
}

// A frozen partner looks alive to UCX. The memory lent to a send must come back all the same.
TEST_P(PeerDeathOver, GetsItsMemoryBackFromAFrozenPartner) {
  partner_.Freeze();
  const absl::Time begin = absl::Now();
  {
    const auto sender = *SlotSender::Create(transport_.get(), kShape);
    ASSERT_TRUE(sender->BeginEpoch(1, {peer_}).ok());
    for (uint64_t number = 1; number <= 2; ++number) {
      const PartKey key = {.epoch = 1, .number = number, .step_id = number};
      ASSERT_TRUE(sender->Acquire(key, kShape.max_part_bytes, Soon()).ok());
      ASSERT_TRUE(sender->Send(key).ok());
    }
  }  // waits for the sends, then cuts the partner off
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30));
  EXPECT_FALSE(peer_->status().ok());
  partner_.Thaw();
}

TEST_P(PeerDeathOver, EndsAChunkTransferToAFrozenPartner) {
  std::vector<std::byte> chunk(1 << 20);
  auto created = ChunkSender::Create(transport_.get(), partner_.address(), 1, Soon(),
                                     {.max_in_flight_bytes = 2 << 20, .max_in_flight_chunks = 8});
  ASSERT_TRUE(created.ok()) << created.status();
  auto sender = *std::move(created);
  partner_.Freeze();
  absl::Status status;
  int accepted = 0;
  while (status.ok() && accepted < 10) {
    status = sender->SendChunk(0, 0, chunk, absl::Now() + absl::Milliseconds(50), nullptr);
    if (status.ok()) ++accepted;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(accepted, 2);
  sender.reset();
  partner_.Thaw();
}

TEST_P(PeerDeathOver, EndsSendsToAKilledPartner) {
  const auto sender = *SlotSender::Create(transport_.get(), kShape);
  ASSERT_TRUE(sender->BeginEpoch(1, {peer_}).ok());
  partner_.Kill();
  absl::Status status;
  for (uint64_t number = 1; status.ok(); ++number) {
    const PartKey key = {.epoch = 1, .number = number, .step_id = number};
    status = sender->Acquire(key, kShape.max_part_bytes, Soon()).status();
    if (status.ok()) status = sender->Send(key);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (const auto transports = baton::PartnerArgument(argc, argv)) {
    return baton::RunPartner(*transports);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
