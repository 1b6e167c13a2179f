// Ends of a channel whose transport never gives memory back: what a wedged network card does.
#include <array>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/concurrency/steady_time.h"
#include "common/transport/chunk_receiver.h"
#include "common/transport/chunk_sender.h"
#include "common/transport/slot_channel.h"
#include "tests/fakes/wedged_transport.h"

namespace baton {
namespace {

using fakes::WedgedPeer;
using fakes::WedgedTransport;

constexpr SlotShape kOneSlot = {.num_slots = 1, .num_ranks = 1, .max_part_bytes = 64};

// Memory for one slice of 64 bytes.
class OneSlice final : public SliceSink {
 public:
  absl::StatusOr<std::span<std::byte>> Destination(size_t) override { return std::span(memory_); }
  void SliceArrived(size_t) override {}

 private:
  std::array<std::byte, 64> memory_{};
};

TEST(SlotReceiver, ReportsLandingsThatOutliveTheDeadlineOfANewEpoch) {
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1).ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = WedgedPeer::kSource,
                              .epoch = 1,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 64,
                              .payload_bytes = 64};
  FrameReceiver* receiver = transport.receivers[FrameKind::kHiddenState];
  ASSERT_TRUE(receiver->Accept(header).ok());

  const absl::Status late = (*slots)->EndEpoch(absl::Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "1 frames of hidden states")) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "stage-1")) << late;
  EXPECT_FALSE(transport.peer->status().ok()) << "the sender was not cut off";
  EXPECT_TRUE(absl::IsFailedPrecondition((*slots)->BeginEpoch(2)));
  FrameHeader next = header;
  next.epoch = 2;
  EXPECT_FALSE(receiver->Accept(next).ok()) << "the slot is not free";

  receiver->Complete(header, absl::UnavailableError("at last"));
  EXPECT_TRUE(absl::IsFailedPrecondition((*slots)->BeginEpoch(2))) << "slots of epoch 1 are left";
  EXPECT_TRUE((*slots)->EndEpoch(absl::Now()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument((*slots)->BeginEpoch(0)));
  EXPECT_TRUE((*slots)->BeginEpoch(2).ok());
  EXPECT_TRUE(receiver->Accept(next).ok());
  receiver->Complete(next, absl::OkStatus());
}

// The sender has connected anew: its fresh connection is none of the old epoch's business.
TEST(SlotReceiver, CutsOffTheConnectionThatAFrameCameOverAndNoOther) {
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1).ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = WedgedPeer::kSource,
                              .epoch = 1,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 64,
                              .payload_bytes = 64};
  FrameReceiver* receiver = transport.receivers[FrameKind::kHiddenState];
  ASSERT_TRUE(receiver->Accept(header).ok());
  const auto old = std::exchange(transport.peer, std::make_shared<WedgedPeer>());
  EXPECT_TRUE(absl::IsDeadlineExceeded((*slots)->EndEpoch(absl::Now())));
  EXPECT_FALSE(old->status().ok());
  EXPECT_TRUE(transport.peer->status().ok());
  receiver->Complete(header, absl::UnavailableError("at last"));
}

// UCX does not tell how much of a payload has come, and a slow link may be at it for long.
TEST(SlotReceiver, IsNotQuietWhileAPayloadMayBeLanding) {
  constexpr size_t kPartBytes = 32'000'000;
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport,
                                    {.num_slots = 2, .num_ranks = 1, .max_part_bytes = kPartBytes});
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1).ok());
  EXPECT_EQ((*slots)->quiet_since(), absl::InfinitePast());
  FrameReceiver* receiver = transport.receivers[FrameKind::kHiddenState];
  const auto header = [](uint64_t number) {
    return FrameHeader{.kind = FrameKind::kHiddenState,
                       .source = WedgedPeer::kSource,
                       .epoch = 1,
                       .stream_id = number,
                       .sequence = number,
                       .total_bytes = kPartBytes,
                       .payload_bytes = kPartBytes,
                       .slot = static_cast<uint32_t>(number % 2)};
  };
  const absl::Duration each =
      absl::Seconds(kPartBytes / LeastRateOf(transport.peer->DescribeTransport()));
  const absl::Time begin = SteadyNow();
  ASSERT_TRUE(receiver->Accept(header(1)).ok());
  ASSERT_TRUE(receiver->Accept(header(2)).ok());
  EXPECT_GE((*slots)->quiet_since(), begin + 2 * each);
  receiver->Complete(header(1), absl::OkStatus());
  EXPECT_GE((*slots)->quiet_since(), begin + each);
  receiver->Complete(header(2), absl::OkStatus());
  EXPECT_GE((*slots)->quiet_since(), begin);
  EXPECT_LE((*slots)->quiet_since(), SteadyNow());
  ASSERT_TRUE((*slots)->EndEpoch(absl::Now()).ok());
  EXPECT_EQ((*slots)->quiet_since(), absl::InfinitePast());
}

TEST(SlotReceiver, TakesTheRateThatItIsTold) {
  WedgedTransport transport;
  const auto slots = *SlotReceiver::Create(
      &transport, {.num_slots = 1, .num_ranks = 1, .max_part_bytes = 1000, .least_rate = 10});
  ASSERT_TRUE(slots->BeginEpoch(1).ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = WedgedPeer::kSource,
                              .epoch = 1,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 1000,
                              .payload_bytes = 1000};
  FrameReceiver* receiver = transport.receivers[FrameKind::kHiddenState];
  const absl::Time begin = SteadyNow();
  ASSERT_TRUE(receiver->Accept(header).ok());
  EXPECT_GE(slots->quiet_since(), begin + absl::Seconds(100));
  receiver->Complete(header, absl::OkStatus());
  EXPECT_LE(slots->quiet_since(), SteadyNow());
}

TEST(LeastRateOf, IsThatOfTheSlowestOfTheTransports) {
  EXPECT_EQ(LeastRateOf("tcp/eth0"), 25e6);
  EXPECT_EQ(LeastRateOf("posix/memory tcp/lo cma/memory"), 25e6);
  EXPECT_EQ(LeastRateOf("posix/memory cma/memory"), 1e9);
  EXPECT_EQ(LeastRateOf("rc_mlx5/mlx5_0:1"), 1e9);
  EXPECT_EQ(LeastRateOf("not connected yet"), 25e6);
  EXPECT_EQ(LeastRateOf(""), 25e6);
}

TEST(SlotReceiver, TakesNothingBeforeItsFirstEpoch) {
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = WedgedPeer::kSource,
                              .epoch = 0,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 64,
                              .payload_bytes = 64};
  EXPECT_FALSE(transport.receivers[FrameKind::kHiddenState]->Accept(header).ok());
}

// The transport tells of a lost peer under its own lock, which source() takes as well.
TEST(SlotSender, HearsOfALostPeerWhileItAsksOneForItsName) {
  WedgedTransport transport;
  auto slots = SlotSender::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  absl::Notification heard;
  std::thread transport_thread;
  transport.peer->when_asked = [&] {
    if (transport_thread.joinable()) return;
    transport_thread = std::thread([&] {
      transport.receivers[FrameKind::kCredit]->PeerLost(WedgedPeer::kSource + 1);
      heard.Notify();
    });
    EXPECT_TRUE(heard.WaitForNotificationWithTimeout(absl::Seconds(10))) << "they wait for another";
  };
  EXPECT_TRUE((*slots)->BeginEpoch(1, {transport.peer}).ok());
  ASSERT_TRUE(transport_thread.joinable());
  transport_thread.join();
}

TEST(SlotSender, BeginsNoEpochWithAPeerThatIsLost) {
  WedgedTransport transport;
  auto slots = SlotSender::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  transport.peer->Fail(absl::UnavailableError("stage-1 has gone"));
  EXPECT_TRUE(absl::IsUnavailable((*slots)->BeginEpoch(1, {transport.peer})));
  EXPECT_TRUE((*slots)->EndEpoch(absl::Now()).ok());
  EXPECT_TRUE((*slots)->BeginEpoch(1, {std::make_shared<WedgedPeer>()}).ok());
}

TEST(SlotSender, ReportsSendsThatOutliveTheDeadlineOfANewEpoch) {
  WedgedTransport transport;
  auto slots = SlotSender::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1, {transport.peer}).ok());
  const PartKey key = {.epoch = 1, .number = 1, .step_id = 1, .rank = 0};
  ASSERT_TRUE((*slots)->Acquire(key, 64, absl::InfiniteFuture()).ok());
  ASSERT_TRUE((*slots)->Send(key).ok());

  const auto fresh = std::make_shared<WedgedPeer>();
  EXPECT_TRUE(absl::IsFailedPrecondition((*slots)->BeginEpoch(2, {fresh})));
  const absl::Status late = (*slots)->EndEpoch(absl::Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "hidden states of an older epoch")) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "stage-1")) << late;
  EXPECT_FALSE(transport.peer->status().ok()) << "the connection was not broken";
  EXPECT_FALSE((*slots)->Acquire(key, 64, absl::Now()).ok()) << "no epoch has begun";
  EXPECT_TRUE(absl::IsFailedPrecondition((*slots)->BeginEpoch(2, {fresh})));

  transport.peer->FinishSends();
  EXPECT_TRUE(absl::IsFailedPrecondition((*slots)->BeginEpoch(2, {fresh})))
      << "peers and slots of epoch 1 are left";
  EXPECT_TRUE((*slots)->EndEpoch(absl::Now()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument((*slots)->BeginEpoch(0, {fresh})));
  EXPECT_TRUE((*slots)->BeginEpoch(2, {fresh}).ok());
}

// Memory that UCX never gives back can be neither used nor freed.
TEST(SlotSenderDeathTest, EndsTheProcessRatherThanWaitForEver) {
  WedgedTransport transport;
  const auto send_and_go = [&] {
    auto slots = *SlotSender::Create(&transport, kOneSlot, absl::Milliseconds(1));
    EXPECT_TRUE(slots->BeginEpoch(1, {transport.peer}).ok());
    const PartKey key = {.epoch = 1, .number = 1, .step_id = 1, .rank = 0};
    EXPECT_TRUE(slots->Acquire(key, 64, absl::InfiniteFuture()).ok());
    EXPECT_TRUE(slots->Send(key).ok());
  };
  EXPECT_DEATH(send_and_go(), "hidden states of an older epoch are still being sent.*stage-1");
}

TEST(ChunkSenderDeathTest, EndsTheProcessRatherThanWaitForEver) {
  WedgedTransport transport;
  const std::vector<std::byte> chunk(64);
  const auto send_and_go = [&] {
    const auto sender = *ChunkSender::Create(&transport, "wedged", 5, absl::InfiniteFuture(),
                                             {.memory_return_limit = absl::Milliseconds(1)});
    EXPECT_TRUE(sender->SendChunk(0, 0, chunk, absl::InfiniteFuture(), nullptr).ok());
  };
  EXPECT_DEATH(send_and_go(), "UCX still reads chunks of transfer 5");
}

TEST(ChunkReceiverDeathTest, EndsTheProcessRatherThanWaitForEver) {
  WedgedTransport transport;
  OneSlice sink;
  const FrameHeader header = {.kind = FrameKind::kWeightChunk,
                              .source = WedgedPeer::kSource,
                              .stream_id = 5,
                              .total_bytes = 64,
                              .payload_bytes = 64};
  const auto accept_and_go = [&] {
    const auto receiver = ChunkReceiver::Create(
        &transport, ChunkReceiverOptions{.memory_return_limit = absl::Milliseconds(1)});
    const absl::Status begun = receiver->BeginTransfer(
        {.transfer_id = 5, .slice_bytes = {64}, .max_chunk_bytes = 64, .sink = &sink});
    EXPECT_TRUE(begun.ok()) << begun;
    EXPECT_TRUE(transport.receivers[FrameKind::kWeightChunk]->Accept(header).ok());
    receiver->EndTransfer(5);
  };
  EXPECT_DEATH(accept_and_go(), "UCX still writes to slices of transfer 5");
}

}  // namespace
}  // namespace baton
