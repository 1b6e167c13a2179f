#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/transport/lent_memory.h"
#include "tests/unit/common/transport/chunk_transfer_fixture.h"
#include "tests/unit/common/transport/forked_child.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

// Says of every lent chunk that it cannot be copied, or says nothing.
class CannotCopy final : public FrameReceiver {
 public:
  explicit CannotCopy(Transport* transport, bool answers = true)
      : transport_(*transport), answers_(answers) {}
  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override {
    return std::span(payload_).first(header.payload_bytes);
  }
  void Complete(const FrameHeader& header, const absl::Status&) override {
    if (answers_) Answer(header);
    const absl::MutexLock lock(&mutex_);
    lent_.push_back(header);
  }
  // Says that this one cannot be copied.
  void Answer(const FrameHeader& header) const {
    transport_.FindPeer(header.source)
        ->Send({.kind = FrameKind::kChunkAnswer,
                .stream_id = header.epoch,
                .sequence = header.sequence,
                .code = static_cast<uint32_t>(absl::StatusCode::kUnimplemented)},
               {}, nullptr, /*has_payload_crc=*/false);
  }
  // Waits for so many lent chunks; all that have come.
  std::vector<FrameHeader> AwaitLent(size_t count) const {
    const absl::MutexLock lock(&mutex_);
    const auto came = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return lent_.size() >= count; };
    EXPECT_TRUE(mutex_.AwaitWithDeadline(absl::Condition(&came), Soon()));
    return lent_;
  }
  // Of the latest one, while no other can come.
  LentMemory latest() const { return ParseLentMemory(payload_); }

 private:
  Transport& transport_;
  const bool answers_;
  mutable absl::Mutex mutex_;
  std::vector<FrameHeader> lent_ ABSL_GUARDED_BY(mutex_);
  std::array<std::byte, kLentMemoryBytes> payload_ = {};
};

class LentChunksOver : public ChunkTransferOver {};

INSTANTIATE_TEST_SUITE_P(Both, LentChunksOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(LentChunksOver, CopiesLongChunksOutOfTheSendersMemory) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(3 << 20, 1);
  for (uint64_t offset = 0; offset < bytes.size(); offset += kMaxChunk) {
    ASSERT_TRUE(SendOne(*sender, 1, offset, {bytes.data() + offset, kMaxChunk}).ok());
  }
  EXPECT_EQ(std::memcmp(sink_.slice(1).data(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(sender->taken_bytes(), bytes.size());
  EXPECT_EQ(worker_->counters().bytes_received, bytes.size() + 3 * kLentMemoryBytes);
  EXPECT_EQ(worker_->counters().frames_refused, 0u);
  EXPECT_TRUE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  EXPECT_EQ(SendOne(*sender, 1, 0, {bytes.data(), kMaxChunk}).code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(LentChunksOver, SendsTheBytesThatTheReceiverCannotCopy) {
  CannotCopy receiver(worker_.get());
  worker_->SetReceiver(FrameKind::kLentChunk, &receiver);
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(3 << 20, 1);
  for (uint64_t offset = 0; offset < bytes.size(); offset += kMaxChunk) {
    ASSERT_TRUE(SendOne(*sender, 1, offset, {bytes.data() + offset, kMaxChunk}).ok());
  }
  EXPECT_EQ(std::memcmp(sink_.slice(1).data(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(receiver.AwaitLent(1).size(), 1u);  // the others are not offered
  EXPECT_FALSE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  worker_->SetReceiver(FrameKind::kLentChunk, nullptr);
}

// As where a rule of the system changes in the middle of a load.
TEST_P(LentChunksOver, SendsTheBytesThatTheReceiverCannotCopyAnyMore) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(3 << 20, 1);
  ASSERT_TRUE(SendOne(*sender, 1, 0, {bytes.data(), kMaxChunk}).ok());
  ASSERT_TRUE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  CannotCopy receiver(worker_.get(), /*answers=*/false);
  worker_->SetReceiver(FrameKind::kLentChunk, &receiver);
  for (uint64_t offset = kMaxChunk; offset < bytes.size(); offset += kMaxChunk) {
    ASSERT_TRUE(
        sender->SendChunk(1, offset, {bytes.data() + offset, kMaxChunk}, Soon(), nullptr).ok());
  }
  for (const FrameHeader& lent : receiver.AwaitLent(2)) receiver.Answer(lent);
  const absl::Status finished = sender->Finish(Soon());
  EXPECT_TRUE(finished.ok()) << finished;
  EXPECT_EQ(std::memcmp(sink_.slice(1).data(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(sender->taken_bytes(), bytes.size());
  EXPECT_FALSE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  worker_->SetReceiver(FrameKind::kLentChunk, nullptr);
}

TEST_P(LentChunksOver, AsksForTheBytesThatItCannotCopy) {
  constexpr uint64_t kName = 5;
  BufferReceiver answers(512);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, &answers);
  const auto peer = *loader_->Connect(worker_->address(), Soon());
  const auto bytes = RandomBytes(700001, 1);
  const LenderMark wrong = {.source = loader_->source(), .name = kName + 1};
  const auto payload = EncodeLentMemory(Lend(bytes, wrong));
  const FrameHeader header = {.kind = FrameKind::kLentChunk,
                              .epoch = kName,
                              .stream_id = kTransfer,
                              .total_bytes = bytes.size(),
                              .slot = 3};
  testing::internal::CaptureStderr();
  const absl::Status sent = SendAndWait(*peer, header, payload);
  const absl::Status answered = answers.WaitForFrames(1);
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(sent.ok() && answered.ok());
  EXPECT_THAT(log, testing::HasSubstr("memory lent by loader cannot be copied: process"));
  EXPECT_EQ(answers.last_header().code, static_cast<uint32_t>(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, 0u);
  EXPECT_EQ(worker_->counters().frames_refused, 0u);  // a lender elsewhere is no fault
  const auto sender = MakeSender({.lends = false});
  ASSERT_TRUE(SendOne(*sender, 3, 0, bytes).ok());  // not AlreadyExists
  EXPECT_EQ(std::memcmp(sink_.slice(3).data(), bytes.data(), bytes.size()), 0);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, nullptr);
}

TEST_P(LentChunksOver, TakesItsMemoryBackWhenItIsCancelled) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  CannotCopy receiver(worker_.get(), /*answers=*/false);
  worker_->SetReceiver(FrameKind::kLentChunk, &receiver);
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(kMaxChunk, 1);
  std::vector<std::byte> out(kMaxChunk);
  ASSERT_TRUE(sender->SendChunk(1, 0, bytes, Soon(), nullptr).ok());
  const FrameHeader header = receiver.AwaitLent(1).front();
  const LentMemory lent = receiver.latest();
  const LenderMark mark = {.source = header.source, .name = header.epoch};
  EXPECT_TRUE(CopyLentMemory(lent, mark, out).ok());
  sender->Cancel(absl::CancelledError("enough"));
  EXPECT_EQ(CopyLentMemory(lent, mark, out).code(), absl::StatusCode::kFailedPrecondition);
  worker_->SetReceiver(FrameKind::kLentChunk, nullptr);
}

TEST_P(LentChunksOver, LendsNothingWhereItIsTurnedOff) {
  const auto sender = MakeSender({.lends = false});
  const auto bytes = RandomBytes(3 << 20, 1);
  ASSERT_TRUE(SendOne(*sender, 1, 0, {bytes.data(), kMaxChunk}).ok());
  EXPECT_EQ(worker_->counters().frames_received, 1u);
  EXPECT_EQ(worker_->counters().bytes_received, kMaxChunk);
  EXPECT_FALSE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
}

TEST_P(LentChunksOver, FailsAtLentMemoryOfAnotherChecksum) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  constexpr uint64_t kName = 5;
  BufferReceiver answers(512);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, &answers);
  const auto peer = *loader_->Connect(worker_->address(), Soon());
  const auto bytes = RandomBytes(700001, 1);
  const LenderMark mark = {.source = loader_->source(), .name = kName};
  LentMemory lent = Lend(bytes, mark);
  lent.crc ^= 1;
  const FrameHeader header = {.kind = FrameKind::kLentChunk,
                              .epoch = kName,
                              .stream_id = kTransfer,
                              .total_bytes = bytes.size(),
                              .slot = 3};
  const auto payload = EncodeLentMemory(lent);
  ASSERT_TRUE(SendAndWait(*peer, header, payload).ok());
  ASSERT_TRUE(answers.WaitForFrames(1).ok());
  EXPECT_EQ(answers.last_header().code, static_cast<uint32_t>(absl::StatusCode::kDataLoss));
  const absl::Status result = receiver_->WaitComplete(kTransfer, Soon());
  EXPECT_EQ(result.code(), absl::StatusCode::kDataLoss) << result;
  EXPECT_TRUE(absl::StrContains(result.message(), "slice 3")) << result;
  EXPECT_EQ(worker_->counters().frames_refused, 1u);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, nullptr);
}

TEST_P(LentChunksOver, RefusesToCopyFewBytes) {
  constexpr uint64_t kName = 5;
  BufferReceiver answers(512);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, &answers);
  const auto peer = *loader_->Connect(worker_->address(), Soon());
  const auto bytes = RandomBytes(kMinLentBytes - 1, 1);
  const LenderMark mark = {.source = loader_->source(), .name = kName};
  const FrameHeader header = {.kind = FrameKind::kLentChunk,
                              .epoch = kName,
                              .stream_id = kTransfer,
                              .total_bytes = bytes.size(),
                              .slot = 1};
  const auto payload = EncodeLentMemory(Lend(bytes, mark));
  ASSERT_TRUE(SendAndWait(*peer, header, payload).ok());
  ASSERT_TRUE(SendAndWait(*peer, header, payload).ok());
  ASSERT_TRUE(answers.WaitForFrames(2).ok());  // the first has been counted then
  EXPECT_EQ(answers.last_header().code, static_cast<uint32_t>(absl::StatusCode::kInvalidArgument));
  EXPECT_GE(worker_->counters().frames_refused, 1u);
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, 0u);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, nullptr);
}

TEST_P(LentChunksOver, RefusesAWordOfLentMemoryThatIsNone) {
  constexpr uint64_t kName = 5;
  BufferReceiver answers(512);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, &answers);
  const auto peer = *loader_->Connect(worker_->address(), Soon());
  const FrameHeader header = {
      .kind = FrameKind::kLentChunk, .epoch = kName, .stream_id = kTransfer, .total_bytes = 100};
  ASSERT_TRUE(SendAndWait(*peer, header, RandomBytes(100, 1)).ok());
  ASSERT_TRUE(answers.WaitForFrames(1).ok());
  EXPECT_EQ(answers.last_header().code, static_cast<uint32_t>(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, 0u);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, nullptr);
}

}  // namespace
}  // namespace baton
