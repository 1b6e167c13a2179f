#include "common/transport/chunk_sender.h"

#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

#include "tests/unit/common/transport/chunk_transfer_fixture.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

INSTANTIATE_TEST_SUITE_P(Both, ChunkTransferOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(ChunkTransferOver, FillsEverySlice) {
  const auto sender = MakeSender();
  std::vector<std::vector<std::byte>> slices;
  for (const size_t size : {100u, 3u << 20, 64u, 700001u}) slices.push_back(RandomBytes(size, 5));
  for (uint32_t i = 0; i < slices.size(); ++i) {
    for (size_t offset = 0; offset < slices[i].size(); offset += kMaxChunk) {
      const size_t size = std::min(kMaxChunk, slices[i].size() - offset);
      ASSERT_TRUE(
          sender->SendChunk(i, offset, {slices[i].data() + offset, size}, Soon(), nullptr).ok());
    }
  }
  ASSERT_TRUE(sender->Finish(Soon()).ok());
  ASSERT_TRUE(receiver_->WaitComplete(kTransfer, Soon()).ok());
  for (size_t i = 0; i < slices.size(); ++i) {
    EXPECT_EQ(std::memcmp(sink_.slice(i).data(), slices[i].data(), slices[i].size()), 0) << i;
  }
  EXPECT_EQ(sink_.arrived().size(), 4u);
  EXPECT_EQ(sender->taken_bytes(), 100u + (3u << 20) + 64u + 700001u);
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, sender->taken_bytes());
}

TEST_P(ChunkTransferOver, IsToldWhatTheReceiverRefuses) {
  struct Case {
    uint32_t slice;
    uint64_t offset;
    size_t size;
    absl::StatusCode code;
  };
  const auto bytes = RandomBytes(kMaxChunk + 1, 1);
  for (const Case& c : {Case{9, 0, 10, absl::StatusCode::kInvalidArgument},
                        Case{0, 91, 10, absl::StatusCode::kInvalidArgument},
                        Case{0, 101, 0, absl::StatusCode::kInvalidArgument},
                        Case{0, ~0ull - 20, 10, absl::StatusCode::kInvalidArgument},
                        Case{1, 0, kMaxChunk + 1, absl::StatusCode::kInvalidArgument}}) {
    const auto sender = MakeSender();
    EXPECT_EQ(SendOne(*sender, c.slice, c.offset, {bytes.data(), c.size}).code(), c.code)
        << c.slice << " " << c.offset;
    EXPECT_EQ(sender->Finish(Soon()).code(), c.code);
  }
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, 0u);
}

TEST_P(ChunkTransferOver, RefusesBytesThatCameBefore) {
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(100, 1);
  EXPECT_TRUE(SendOne(*sender, 0, 40, {bytes.data(), 20}).ok());
  EXPECT_TRUE(SendOne(*sender, 0, 0, {bytes.data(), 40}).ok());
  EXPECT_EQ(SendOne(*sender, 0, 59, {bytes.data(), 10}).code(), absl::StatusCode::kAlreadyExists);
}

TEST_P(ChunkTransferOver, RefusesAnUnknownTransfer) {
  auto sender = ChunkSender::Create(loader_.get(), worker_->address(), 4711, Soon());
  ASSERT_TRUE(sender.ok());
  const absl::Status answer = SendOne(**sender, 0, 0, RandomBytes(10, 1));
  EXPECT_EQ(answer.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(answer.message(), "4711")) << answer;
}

TEST_P(ChunkTransferOver, RefusesAFlippedBitAndFailsTheTransfer) {
  const auto peer = loader_->Connect(worker_->address(), Soon());
  ASSERT_TRUE(peer.ok());
  auto bytes = RandomBytes(64, 1);
  const FrameHeader header = {
      .kind = FrameKind::kWeightChunk, .stream_id = kTransfer, .total_bytes = 64, .slot = 2};
  (*peer)->Send(header, bytes, nullptr, /*has_payload_crc=*/true);  // its checksum is left at 0
  const absl::Status result = receiver_->WaitComplete(kTransfer, Soon());
  EXPECT_EQ(result.code(), absl::StatusCode::kDataLoss) << result;
  EXPECT_TRUE(absl::StrContains(result.message(), "slice 2")) << result;
}

TEST_P(ChunkTransferOver, HoldsTheSenderWhileSlicesAreNotReleased) {
  sink_.set_holds(true);
  const auto sender = MakeSender({.max_in_flight_bytes = 150, .max_in_flight_chunks = 8});
  const auto bytes = RandomBytes(100, 1);
  ASSERT_TRUE(sender->SendChunk(0, 0, bytes, Soon(), nullptr).ok());
  const absl::Status held =
      sender->SendChunk(2, 0, {bytes.data(), 64}, absl::Now() + absl::Milliseconds(50), nullptr);
  EXPECT_EQ(held.code(), absl::StatusCode::kDeadlineExceeded) << held;
  ASSERT_TRUE(sink_.AwaitArrival(0));  // none is released before
  receiver_->ReleaseSlice(kTransfer, 0);
  EXPECT_TRUE(sender->SendChunk(2, 0, {bytes.data(), 64}, Soon(), nullptr).ok());
  receiver_->ReleaseSlice(kTransfer, 2);
}

TEST_P(ChunkTransferOver, EndsWhenTheSinkHasNoMemory) {
  sink_.set_refuses(true);
  const auto sender = MakeSender();
  EXPECT_EQ(SendOne(*sender, 0, 0, RandomBytes(10, 1)).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(receiver_->WaitComplete(kTransfer, Soon()).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_P(ChunkTransferOver, FailsWhenTheReceiverGoes) {
  sink_.set_holds(true);
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(100, 1);
  ASSERT_TRUE(sender->SendChunk(0, 0, bytes, Soon(), nullptr).ok());
  receiver_.reset();
  worker_.reset();
  EXPECT_EQ(sender->Finish(Soon()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(sender->SendChunk(2, 0, {bytes.data(), 64}, Soon(), nullptr).code(),
            absl::StatusCode::kUnavailable);
}

TEST_P(ChunkTransferOver, FailsWhenTheSenderGoes) {
  const auto sender_bytes = RandomBytes(100, 1);
  {
    const auto sender = MakeSender();
    ASSERT_TRUE(SendOne(*sender, 0, 0, sender_bytes).ok());
  }
  loader_.reset();
  EXPECT_EQ(receiver_->WaitComplete(kTransfer, Soon()).code(), absl::StatusCode::kUnavailable);
}

TEST_P(ChunkTransferOver, ForgetsAnEndedTransfer) {
  receiver_->EndTransfer(kTransfer);
  EXPECT_EQ(receiver_->WaitComplete(kTransfer, Soon()).code(), absl::StatusCode::kNotFound);
  const auto sender = MakeSender();
  EXPECT_EQ(SendOne(*sender, 0, 0, RandomBytes(10, 1)).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace baton
