#include "common/transport/chunk_sender.h"

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/transport/chunk_receiver.h"
#include "common/transport/lent_memory.h"
#include "tests/unit/common/transport/forked_child.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr uint64_t kTransfer = 77;
constexpr size_t kMaxChunk = 1 << 20;

// Owns the memory of a transfer's slices; releases at once unless told to hold.
class MemorySink final : public SliceSink {
 public:
  explicit MemorySink(const std::vector<uint64_t>& slice_bytes) {
    for (const uint64_t bytes : slice_bytes) slices_.emplace_back(bytes);
  }
  void set_receiver(ChunkReceiver* receiver) { receiver_ = receiver; }
  void set_holds(bool holds) { holds_ = holds; }

  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override {
    if (refuses_) return absl::ResourceExhaustedError("no memory for slices");
    return std::span(slices_[slice_index]);
  }
  void SliceArrived(size_t slice_index) override {
    {
      const absl::MutexLock lock(&mutex_);
      arrived_.insert(slice_index);
    }
    if (!holds_) receiver_->ReleaseSlice(kTransfer, slice_index);
  }
  void set_refuses(bool refuses) { refuses_ = refuses; }
  bool AwaitArrival(size_t slice_index) const {
    const absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return arrived_.contains(slice_index);
    };
    return mutex_.AwaitWithDeadline(absl::Condition(&there), Soon());
  }

  std::span<const std::byte> slice(size_t index) const { return slices_[index]; }
  std::set<size_t> arrived() const {
    const absl::MutexLock lock(&mutex_);
    return arrived_;
  }

 private:
  ChunkReceiver* receiver_ = nullptr;
  std::vector<std::vector<std::byte>> slices_;
  std::atomic<bool> holds_{false};
  std::atomic<bool> refuses_{false};
  mutable absl::Mutex mutex_;
  std::set<size_t> arrived_ ABSL_GUARDED_BY(mutex_);
};

// Says of every lent chunk that it cannot be copied, or says nothing.
class CannotCopy final : public FrameReceiver {
 public:
  explicit CannotCopy(Transport* transport, bool answers = true)
      : transport_(*transport), answers_(answers) {}
  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override {
    return std::span(payload_).first(header.payload_bytes);
  }
  void Complete(const FrameHeader& header, const absl::Status&) override {
    lender_name_ = header.epoch;
    if (++num_lent_ == 1) came_.Notify();
    if (!answers_) return;
    transport_.FindPeer(header.source)
        ->Send({.kind = FrameKind::kChunkAnswer,
                .stream_id = header.epoch,
                .sequence = header.sequence,
                .code = static_cast<uint32_t>(absl::StatusCode::kUnimplemented)},
               {}, nullptr, /*has_payload_crc=*/false);
  }
  int num_lent() const { return num_lent_; }
  uint64_t lender_name() const { return lender_name_; }
  // Waits for the first lent chunk; what its frame says.
  LentMemory AwaitLent() {
    EXPECT_TRUE(came_.WaitForNotificationWithTimeout(absl::Seconds(30)));
    return ParseLentMemory(payload_);
  }

 private:
  Transport& transport_;
  const bool answers_;
  absl::Notification came_;
  std::atomic<uint64_t> lender_name_{0};
  std::array<std::byte, kLentMemoryBytes> payload_ = {};
  std::atomic<int> num_lent_{0};
};

// A loader's and a worker's transport with one transfer between them.
class ChunkTransferOver : public testing::TestWithParam<const char*> {
 protected:
  ChunkTransferOver() : sink_({100, 3u << 20, 64, 700001}) {
    const std::string devices = absl::string_view(GetParam()) == "tcp" ? "lo" : "";
    loader_ =
        *Transport::Create({.name = "loader", .transports = GetParam(), .net_devices = devices});
    worker_ =
        *Transport::Create({.name = "worker", .transports = GetParam(), .net_devices = devices});
    receiver_ = ChunkReceiver::Create(worker_.get(), {.copies_own_memory = true});
    sink_.set_receiver(receiver_.get());
    EXPECT_TRUE(receiver_
                    ->BeginTransfer({.transfer_id = kTransfer,
                                     .slice_bytes = {100, 3u << 20, 64, 700001},
                                     .max_chunk_bytes = kMaxChunk,
                                     .sink = &sink_})
                    .ok());
  }

  std::unique_ptr<ChunkSender> MakeSender(ChunkSenderOptions options = {}) {
    auto sender =
        ChunkSender::Create(loader_.get(), worker_->address(), kTransfer, Soon(), options);
    EXPECT_TRUE(sender.ok()) << sender.status();
    return *std::move(sender);
  }

  // Sends one chunk and waits for its answer.
  static absl::Status SendOne(ChunkSender& sender, uint32_t slice, uint64_t offset,
                              std::span<const std::byte> payload) {
    absl::Notification answered;
    absl::Status answer;
    const absl::Status accepted =
        sender.SendChunk(slice, offset, payload, Soon(), [&](const absl::Status& status) {
          answer = status;
          answered.Notify();
        });
    if (!accepted.ok()) return accepted;
    answered.WaitForNotification();
    return answer;
  }

  MemorySink sink_;
  std::unique_ptr<Transport> loader_;
  std::unique_ptr<Transport> worker_;
  std::unique_ptr<ChunkReceiver> receiver_;
};

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

TEST_P(ChunkTransferOver, CopiesLongChunksOutOfTheSendersMemory) {
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

TEST_P(ChunkTransferOver, SendsTheBytesThatTheReceiverCannotCopy) {
  CannotCopy receiver(worker_.get());
  worker_->SetReceiver(FrameKind::kLentChunk, &receiver);
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(3 << 20, 1);
  for (uint64_t offset = 0; offset < bytes.size(); offset += kMaxChunk) {
    ASSERT_TRUE(SendOne(*sender, 1, offset, {bytes.data() + offset, kMaxChunk}).ok());
  }
  EXPECT_EQ(std::memcmp(sink_.slice(1).data(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(receiver.num_lent(), 1);  // the others are not offered
  EXPECT_FALSE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  worker_->SetReceiver(FrameKind::kLentChunk, nullptr);
}

TEST_P(ChunkTransferOver, AsksForTheBytesThatItCannotCopy) {
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
  ASSERT_TRUE(SendAndWait(*peer, header, payload).ok());
  ASSERT_TRUE(answers.WaitForFrames(1).ok());
  EXPECT_EQ(answers.last_header().code, static_cast<uint32_t>(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(receiver_->progress(kTransfer)->received_bytes, 0u);
  EXPECT_EQ(worker_->counters().frames_refused, 0u);  // a lender elsewhere is no fault
  const auto sender = MakeSender({.lends = false});
  ASSERT_TRUE(SendOne(*sender, 3, 0, bytes).ok());  // not AlreadyExists
  EXPECT_EQ(std::memcmp(sink_.slice(3).data(), bytes.data(), bytes.size()), 0);
  loader_->SetStreamReceiver(FrameKind::kChunkAnswer, kName, nullptr);
}

TEST_P(ChunkTransferOver, TakesItsMemoryBackWhenItIsCancelled) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  CannotCopy receiver(worker_.get(), /*answers=*/false);
  worker_->SetReceiver(FrameKind::kLentChunk, &receiver);
  const auto sender = MakeSender();
  const auto bytes = RandomBytes(kMaxChunk, 1);
  std::vector<std::byte> out(kMaxChunk);
  ASSERT_TRUE(sender->SendChunk(1, 0, bytes, Soon(), nullptr).ok());
  const LentMemory lent = receiver.AwaitLent();
  const LenderMark mark = {.source = loader_->source(), .name = receiver.lender_name()};
  EXPECT_TRUE(CopyLentMemory(lent, mark, out).ok());
  sender->Cancel(absl::CancelledError("enough"));
  EXPECT_EQ(CopyLentMemory(lent, mark, out).code(), absl::StatusCode::kFailedPrecondition);
  worker_->SetReceiver(FrameKind::kLentChunk, nullptr);
}

TEST_P(ChunkTransferOver, LendsNothingWhereItIsTurnedOff) {
  const auto sender = MakeSender({.lends = false});
  const auto bytes = RandomBytes(3 << 20, 1);
  ASSERT_TRUE(SendOne(*sender, 1, 0, {bytes.data(), kMaxChunk}).ok());
  EXPECT_EQ(worker_->counters().frames_received, 1u);
  EXPECT_EQ(worker_->counters().bytes_received, kMaxChunk);
  EXPECT_FALSE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
}

TEST_P(ChunkTransferOver, FailsAtLentMemoryOfAnotherChecksum) {
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

TEST_P(ChunkTransferOver, RefusesToCopyFewBytes) {
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

TEST_P(ChunkTransferOver, RefusesAWordOfLentMemoryThatIsNone) {
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
