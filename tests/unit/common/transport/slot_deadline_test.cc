// Ends of a channel whose transport never gives memory back: what a wedged network card does.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/transport/slot_channel.h"

namespace baton {
namespace {

constexpr SlotShape kOneSlot = {.num_slots = 1, .num_ranks = 1, .max_part_bytes = 64};
constexpr uint64_t kSource = 77;

// Keeps every send to itself, also after the connection was broken.
class WedgedPeer final : public Peer {
 public:
  void Send(FrameHeader, std::span<const std::byte>, std::function<void(const absl::Status&)> done,
            bool) override {
    done_.push_back(std::move(done));
  }
  void Fail(const absl::Status& reason) override { status_ = reason; }
  absl::Status status() const override { return status_; }
  uint64_t source() const override {
    if (when_asked) when_asked();
    return kSource;
  }
  const std::string& name() const override { return name_; }
  std::string DescribeTransport() const override { return "wedged"; }

  void FinishSends() {
    for (const auto& done : std::exchange(done_, {})) done(absl::UnavailableError("at last"));
  }

  std::function<void()> when_asked;  // runs in source()

 private:
  const std::string name_ = "stage-1";
  absl::Status status_;
  std::vector<std::function<void(const absl::Status&)>> done_;
};

class WedgedTransport final : public Transport {
 public:
  const std::string& address() const override { return address_; }
  uint64_t source() const override { return 1; }
  void SetReceiver(FrameKind kind, FrameReceiver* receiver) override { receivers[kind] = receiver; }
  void SetStreamReceiver(FrameKind, uint64_t, FrameReceiver*) override {}
  absl::StatusOr<std::shared_ptr<Peer>> Connect(absl::string_view, absl::Time) override {
    return peer;
  }
  std::shared_ptr<Peer> FindPeer(uint64_t) override { return peer; }
  TransportCounters counters() const override { return {}; }

  std::map<FrameKind, FrameReceiver*> receivers;
  std::shared_ptr<WedgedPeer> peer = std::make_shared<WedgedPeer>();

 private:
  const std::string address_ = "wedged";
};

TEST(SlotReceiver, ReportsLandingsThatOutliveTheDeadlineOfANewEpoch) {
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1, absl::InfiniteFuture()).ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = kSource,
                              .epoch = 1,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 64,
                              .payload_bytes = 64};
  FrameReceiver* receiver = transport.receivers[FrameKind::kHiddenState];
  ASSERT_TRUE(receiver->Accept(header).ok());

  const absl::Status late = (*slots)->BeginEpoch(2, absl::Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "epoch 2 cannot begin: 1 frames")) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "stage-1")) << late;
  EXPECT_FALSE(transport.peer->status().ok()) << "the sender was not cut off";
  FrameHeader next = header;
  next.epoch = 2;
  EXPECT_FALSE(receiver->Accept(next).ok()) << "the slot is not free";

  receiver->Complete(header, absl::UnavailableError("at last"));
  EXPECT_TRUE((*slots)->BeginEpoch(2, absl::Now()).ok());
  EXPECT_TRUE(receiver->Accept(next).ok());
  receiver->Complete(next, absl::OkStatus());
}

TEST(SlotReceiver, TakesNothingBeforeItsFirstEpoch) {
  WedgedTransport transport;
  auto slots = SlotReceiver::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = kSource,
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
      transport.receivers[FrameKind::kCredit]->PeerLost(kSource + 1);
      heard.Notify();
    });
    EXPECT_TRUE(heard.WaitForNotificationWithTimeout(absl::Seconds(10))) << "they wait for another";
  };
  EXPECT_TRUE((*slots)->BeginEpoch(1, {transport.peer}, absl::InfiniteFuture()).ok());
  ASSERT_TRUE(transport_thread.joinable());
  transport_thread.join();
}

TEST(SlotSender, ReportsSendsThatOutliveTheDeadlineOfANewEpoch) {
  WedgedTransport transport;
  auto slots = SlotSender::Create(&transport, kOneSlot);
  ASSERT_TRUE(slots.ok());
  ASSERT_TRUE((*slots)->BeginEpoch(1, {transport.peer}, absl::InfiniteFuture()).ok());
  const PartKey key = {.epoch = 1, .number = 1, .step_id = 1, .rank = 0};
  ASSERT_TRUE((*slots)->Acquire(key, 64, absl::InfiniteFuture()).ok());
  ASSERT_TRUE((*slots)->Send(key).ok());

  const absl::Status late = (*slots)->BeginEpoch(2, {transport.peer}, absl::Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "epoch 2 cannot begin")) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), "stage-1")) << late;
  EXPECT_FALSE(transport.peer->status().ok()) << "the connection was not broken";
  EXPECT_FALSE((*slots)->Acquire(key, 64, absl::Now()).ok()) << "no epoch has begun";

  transport.peer->FinishSends();
  EXPECT_TRUE((*slots)->BeginEpoch(2, {transport.peer}, absl::Now()).ok());
}

}  // namespace
}  // namespace baton
