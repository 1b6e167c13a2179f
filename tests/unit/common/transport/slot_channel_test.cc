#include "common/transport/slot_channel.h"

#include <cstring>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr SlotShape kShape = {.num_slots = 2, .num_ranks = 4, .max_part_bytes = 64 * 1024};

struct Way {
  const char* transports;
  SlotContent content;
};

absl::Time AtOnce() { return absl::Now() + absl::Milliseconds(30); }

class SlotChannelOver : public testing::TestWithParam<Way> {
 protected:
  SlotChannelOver() {
    first_ = MakeTransport("first");
    second_ = MakeTransport("second");
    SlotShape shape = kShape;
    shape.content = GetParam().content;
    sender_ = *SlotSender::Create(first_.get(), shape);
    receiver_ = *SlotReceiver::Create(second_.get(), shape);
    peer_ = *first_->Connect(second_->address(), Soon());
    BeginEpoch(1);
  }

  static std::unique_ptr<Transport> MakeTransport(const char* name) {
    const std::string transports = GetParam().transports;
    return *Transport::Create(
        {.name = name, .transports = transports, .net_devices = transports == "tcp" ? "lo" : ""});
  }
  static FrameKind kind() { return FramesOf(GetParam().content).object; }

  void BeginEpoch(uint64_t epoch) {
    ASSERT_TRUE(receiver_->EndEpoch(Soon()).ok());
    ASSERT_TRUE(sender_->EndEpoch(Soon()).ok());
    ASSERT_TRUE(receiver_->BeginEpoch(epoch).ok());
    ASSERT_TRUE(sender_->BeginEpoch(epoch, {peer_, peer_, peer_, peer_}).ok());
  }

  static char Filling(const PartKey& key) {
    return static_cast<char>(key.epoch * 100 + key.step_id * 10 + key.rank);
  }

  absl::Status SendStep(uint64_t epoch, uint64_t step_id, size_t part_bytes, absl::Time deadline) {
    for (size_t rank = 0; rank < kShape.num_ranks; ++rank) {
      const PartKey key = {.epoch = epoch, .number = step_id, .step_id = step_id, .rank = rank};
      const auto part = sender_->Acquire(key, part_bytes, deadline);
      if (!part.ok()) return part.status();
      std::memset(part->data(), Filling(key), part->size());
      if (absl::Status sent = sender_->Send(key); !sent.ok()) return sent;
    }
    return absl::OkStatus();
  }

  // Receives and releases a step; what its bytes should be is checked.
  absl::Status TakeStep(uint64_t epoch, uint64_t step_id, size_t part_bytes) {
    for (size_t rank = 0; rank < kShape.num_ranks; ++rank) {
      const PartKey key = {.epoch = epoch, .number = step_id, .step_id = step_id, .rank = rank};
      const auto part = receiver_->Receive(key, part_bytes, Soon());
      if (!part.ok()) return part.status();
      for (const std::byte byte : *part) {
        if (static_cast<char>(byte) != Filling(key)) return absl::DataLossError("other bytes");
      }
      receiver_->Release(key);
    }
    return absl::OkStatus();
  }

  // Waits until the receiver's transport has refused a frame.
  void AwaitRefusal() {
    for (const absl::Time limit = Soon(); second_->counters().frames_refused == 0;) {
      ASSERT_LT(absl::Now(), limit);
      std::this_thread::yield();
    }
  }

  std::unique_ptr<Transport> first_;
  std::unique_ptr<Transport> second_;
  std::unique_ptr<SlotSender> sender_;
  std::unique_ptr<SlotReceiver> receiver_;
  std::shared_ptr<Peer> peer_;
};

INSTANTIATE_TEST_SUITE_P(
    Both, SlotChannelOver,
    testing::Values(Way{"tcp", SlotContent::kHiddenStates}, Way{"sm", SlotContent::kHiddenStates},
                    Way{"tcp", SlotContent::kTokens}, Way{"sm", SlotContent::kTokens}),
    [](const auto& test) {
      const bool tokens = test.param.content == SlotContent::kTokens;
      return std::string(test.param.transports) + (tokens ? "_tokens" : "_hidden_states");
    });

TEST_P(SlotChannelOver, CarriesManyStepsOfAllSizes) {
  for (uint64_t step = 1; step <= 60; ++step) {
    const size_t bytes = step % 3 == 0 ? kShape.max_part_bytes : 8 * step;
    ASSERT_TRUE(SendStep(1, step, bytes, Soon()).ok()) << step;
    ASSERT_TRUE(TakeStep(1, step, bytes).ok()) << step;
  }
  EXPECT_EQ(second_->counters().frames_refused, 0u);
  // One frame per step: all ranks share the connection.
  EXPECT_EQ(second_->counters().frames_received, 60u);
}

TEST_P(SlotChannelOver, StopsWithoutCreditsAndGoesOnWithThem) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  ASSERT_TRUE(SendStep(1, 2, 16, Soon()).ok());
  EXPECT_EQ(SendStep(1, 3, 16, AtOnce()).code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(TakeStep(1, 1, 16).ok());
  EXPECT_TRUE(SendStep(1, 3, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(1, 2, 16).ok());
  EXPECT_TRUE(TakeStep(1, 3, 16).ok());
}

TEST_P(SlotChannelOver, RefusesFramesOfAnOlderEpoch) {
  ASSERT_TRUE(receiver_->EndEpoch(Soon()).ok());
  ASSERT_TRUE(receiver_->BeginEpoch(2).ok());
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  AwaitRefusal();
  EXPECT_EQ(receiver_->Receive({.epoch = 2, .number = 1, .step_id = 1, .rank = 0}, 16, AtOnce())
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(second_->counters().frames_refused, 1u);
  BeginEpoch(3);
  ASSERT_TRUE(SendStep(3, 1, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(3, 1, 16).ok());
}

TEST_P(SlotChannelOver, SaysWhenLengthsDiffer) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  EXPECT_EQ(receiver_->Receive({.epoch = 1, .number = 1, .step_id = 1, .rank = 0}, 32, Soon())
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
}

TEST_P(SlotChannelOver, SaysWhenTheStepIsAnotherOne) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  const absl::Status other =
      receiver_->Receive({.epoch = 1, .number = 1, .step_id = 2, .rank = 0}, 16, Soon()).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kDataLoss) << other;
}

TEST_P(SlotChannelOver, RefusesWhatFitsNoSlot) {
  const std::vector<std::byte> payload(64);
  const FrameHeader good = {.kind = kind(),
                            .epoch = 1,
                            .stream_id = 1,
                            .sequence = 1,
                            .total_bytes = 64,
                            .rank = 0,
                            .slot = 1};
  std::vector<FrameHeader> bad(8, good);
  bad[0].sequence = 3;                                 // no slot waits for it
  bad[1].sequence = 0;                                 // objects begin at 1
  bad[2].slot = 0;                                     // not the slot of this object
  bad[3].total_bytes = 4 * kShape.max_part_bytes + 4;  // larger than the slot
  bad[4].total_bytes = 66;                             // not whole parts
  bad[5].rank = 4;                                     // no such rank
  bad[6].offset = 16, bad[6].total_bytes = 128;        // not where rank 0 lies
  bad[7].epoch = 9;
  for (const FrameHeader& header : bad) peer_->Send(header, payload, nullptr);
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(1, 1, 16).ok());
  EXPECT_EQ(second_->counters().frames_refused, bad.size());
}

TEST_P(SlotChannelOver, RefusesAPartThatCameBefore) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  const std::vector<std::byte> payload(64);
  peer_->Send(
      {.kind = kind(), .epoch = 1, .stream_id = 1, .sequence = 1, .total_bytes = 64, .slot = 1},
      payload, nullptr);
  ASSERT_TRUE(SendStep(1, 2, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(1, 1, 16).ok());
  EXPECT_TRUE(TakeStep(1, 2, 16).ok());
  EXPECT_EQ(second_->counters().frames_refused, 1u);
}

TEST_P(SlotChannelOver, RefusesASecondSourceInTheSameEpoch) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  ASSERT_TRUE(TakeStep(1, 1, 16).ok());
  const auto stranger = MakeTransport("stranger");
  const auto to_second = *stranger->Connect(second_->address(), Soon());
  const std::vector<std::byte> payload(64);
  to_second->Send(
      {.kind = kind(), .epoch = 1, .stream_id = 2, .sequence = 2, .total_bytes = 64, .slot = 0},
      payload, nullptr);
  AwaitRefusal();
  ASSERT_TRUE(SendStep(1, 2, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(1, 2, 16).ok());
}

TEST_P(SlotChannelOver, TellsOfAFlippedBit) {
  const std::vector<std::byte> payload(64, std::byte{1});
  peer_->Send(
      {.kind = kind(), .epoch = 1, .stream_id = 1, .sequence = 1, .total_bytes = 64, .slot = 1},
      payload, nullptr, /*has_payload_crc=*/true);
  EXPECT_EQ(receiver_->Receive({.epoch = 1, .number = 1, .step_id = 1, .rank = 0}, 16, Soon())
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
}

TEST_P(SlotChannelOver, WakesWaitsWhenAborted) {
  receiver_->Abort(absl::CancelledError("epoch change"));
  sender_->Abort(absl::CancelledError("epoch change"));
  EXPECT_EQ(receiver_->Receive({.epoch = 1, .number = 1, .step_id = 1, .rank = 0}, 16, Soon())
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(SendStep(1, 1, 16, Soon()).code(), absl::StatusCode::kCancelled);
  BeginEpoch(2);
  ASSERT_TRUE(SendStep(2, 1, 16, Soon()).ok());
  EXPECT_TRUE(TakeStep(2, 1, 16).ok());
}

TEST_P(SlotChannelOver, FailsBothEndsWhenTheOtherGoes) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  ASSERT_TRUE(TakeStep(1, 1, 16).ok());
  receiver_.reset();
  second_.reset();
  absl::Status status;
  for (uint64_t step = 2; status.ok() && step < 10; ++step) status = SendStep(1, step, 16, Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

TEST_P(SlotChannelOver, TellsTheReceiverThatTheSenderHasGone) {
  ASSERT_TRUE(SendStep(1, 1, 16, Soon()).ok());
  ASSERT_TRUE(TakeStep(1, 1, 16).ok());
  peer_.reset();
  sender_.reset();
  first_.reset();
  EXPECT_EQ(receiver_->Receive({.epoch = 1, .number = 2, .step_id = 2, .rank = 0}, 16, Soon())
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

// As between two stages: hidden states one way, tokens the other.
TEST(SlotChannel, CarriesBothContentsBetweenTwoTransports) {
  const auto first = *Transport::Create({.name = "first", .transports = "sm"});
  const auto last = *Transport::Create({.name = "last", .transports = "sm"});
  const SlotShape states = {.num_slots = 2, .num_ranks = 1, .max_part_bytes = 64};
  SlotShape tokens = states;
  tokens.content = SlotContent::kTokens;
  const auto state_sender = *SlotSender::Create(first.get(), states);
  const auto state_receiver = *SlotReceiver::Create(last.get(), states);
  const auto token_sender = *SlotSender::Create(last.get(), tokens);
  const auto token_receiver = *SlotReceiver::Create(first.get(), tokens);
  ASSERT_TRUE(state_receiver->BeginEpoch(1).ok());
  ASSERT_TRUE(token_receiver->BeginEpoch(1).ok());
  const auto to_last = *first->Connect(last->address(), Soon());
  const auto to_first = *last->Connect(first->address(), Soon());
  ASSERT_TRUE(state_sender->BeginEpoch(1, {to_last}).ok());
  ASSERT_TRUE(token_sender->BeginEpoch(1, {to_first}).ok());
  const auto carry = [](SlotSender* sender, SlotReceiver* receiver, uint64_t number, char value) {
    const PartKey key = {.epoch = 1, .number = number, .step_id = number};
    const auto part = sender->Acquire(key, 8, Soon());
    ASSERT_TRUE(part.ok()) << part.status();
    std::memset(part->data(), value, part->size());
    ASSERT_TRUE(sender->Send(key).ok());
    const auto taken = receiver->Receive(key, 8, Soon());
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_EQ(static_cast<char>((*taken)[0]), value);
    receiver->Release(key);
  };
  for (uint64_t number = 1; number <= 6; ++number) {
    carry(state_sender.get(), state_receiver.get(), number, 's');
    carry(token_sender.get(), token_receiver.get(), number, 't');
  }
  EXPECT_EQ(first->counters().frames_refused + last->counters().frames_refused, 0u);
}

TEST(SlotChannel, RefusesShapesWithoutSlots) {
  const auto transport = Transport::Create({.name = "x", .transports = "sm"});
  EXPECT_EQ(SlotReceiver::Create(transport->get(), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SlotSender::Create(transport->get(), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
