#include "services/model_loader/transfer/slice_transfer.h"

#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "absl/time/clock.h"

#include "tests/fakes/fake_byte_source.h"
#include "tests/fakes/fake_chunk_sender.h"

namespace baton::loader {
namespace {

using testing::FakeByteSource;
using testing::FakeChunkSender;

// A file with one matrix of 256 x 512 bytes, wanted by two targets: whole, and its right half.
class SliceTransferTest : public ::testing::Test {
 protected:
  SliceTransferTest() {
    std::mt19937 random(3);
    bytes_.resize(256 * 512);
    for (char& c : bytes_) c = static_cast<char>(random());
    source_ = std::make_unique<FakeByteSource>(std::vector<std::string>{bytes_});
    tensor_ = {"the.tensor", "U8", {256, 512}, 0, 0, bytes_.size()};
    whole_ = {&tensor_, 512, 1, 0, 256, 0, 512};
    half_ = {&tensor_, 512, 1, 0, 256, 256, 512};
    ReadPlanOptions options;
    options.job_bytes = 16384;
    options.chunk_bytes = kChunkBytes;
    plan_ = BuildReadPlan({{whole_}, {half_}}, options);
    a_ = std::make_unique<FakeChunkSender>(std::vector<uint64_t>{whole_.bytes()});
    b_ = std::make_unique<FakeChunkSender>(std::vector<uint64_t>{half_.bytes()});
    UseReader(absl::Hours(1));
  }
  ~SliceTransferTest() override { source_->Release(); }

  // Reads that hang end at `deadline`.
  void UseReader(absl::Duration deadline) {
    transfer_.reset();
    RangeReaderOptions reader_options;
    reader_options.num_threads = 2;
    reader_options.read_deadline = deadline;
    reader_options.max_attempts = 2;
    reader_ = RangeReader::Create(reader_options, source_.get()).value();
    SliceTransferOptions transfer_options;
    transfer_options.num_threads = 3;
    transfer_options.chunk_bytes = kChunkBytes;
    transfer_ =
        std::make_unique<SliceTransfer>(transfer_options, &plan_, reader_.get(),
                                        std::vector<ChunkSender*>{a_.get(), b_.get()}, &progress_);
  }

  static constexpr uint64_t kChunkBytes = 3000;
  std::string bytes_;
  std::unique_ptr<FakeByteSource> source_;
  StoredTensor tensor_;
  CheckedSlice whole_;
  CheckedSlice half_;
  ReadPlan plan_;
  std::unique_ptr<FakeChunkSender> a_;
  std::unique_ptr<FakeChunkSender> b_;
  std::unique_ptr<RangeReader> reader_;
  LoadProgress progress_;
  std::unique_ptr<SliceTransfer> transfer_;
};

TEST_F(SliceTransferTest, DeliversEverySliceExactlyOnce) {
  ASSERT_TRUE(transfer_->Run().ok());
  EXPECT_TRUE(a_->complete());
  EXPECT_TRUE(b_->complete());
  EXPECT_EQ(a_->slices()[0], bytes_);
  std::string right;
  for (size_t row = 0; row < 256; ++row) right += bytes_.substr(row * 512 + 256, 256);
  EXPECT_EQ(b_->slices()[0], right);
  EXPECT_LE(a_->largest_chunk(), kChunkBytes);
  EXPECT_EQ(static_cast<uint64_t>(a_->num_chunks() + b_->num_chunks()), plan_.num_chunks);
  EXPECT_EQ(progress_.read_bytes.load(), bytes_.size());
  EXPECT_EQ(progress_.sent_bytes.load(), plan_.slice_bytes);
  EXPECT_EQ(source_->bytes_read(), bytes_.size());
}

TEST_F(SliceTransferTest, AReadErrorNamesFileTensorAndOffset) {
  source_->FailNext(1000, absl::UnavailableError("Input/output error"));
  const absl::Status status = transfer_->Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  for (const char* word : {"the.tensor", "file-0", "offset"}) {
    EXPECT_NE(status.message().find(word), std::string::npos) << word << " in " << status;
  }
}

TEST_F(SliceTransferTest, AReadThatHangsEndsAtItsDeadline) {
  UseReader(absl::Milliseconds(50));
  source_->HangNext(1000);
  const absl::Status status = transfer_->Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("the.tensor"), std::string::npos) << status;
}

TEST_F(SliceTransferTest, AReceiverThatRefusesEndsTheTransfer) {
  b_->RefuseAfter(2, absl::UnavailableError("the receiver is gone"));
  const absl::Status status = transfer_->Run();
  EXPECT_EQ(status, absl::UnavailableError("the receiver is gone"));
}

TEST_F(SliceTransferTest, CancelEndsItWhileTheStorageHangs) {
  source_->HangNext(1000);
  std::thread canceller([&] { transfer_->Cancel(absl::CancelledError("enough")); });
  EXPECT_EQ(transfer_->Run(), absl::CancelledError("enough"));
  canceller.join();
  source_->Release();
}

// Three reads' worth may be held; one is 16 KiB.
constexpr SliceTransferOptions kShortOfMemory = {
    .num_threads = 3, .chunk_bytes = 3000, .max_held_bytes = 3 * 16384};

TEST_F(SliceTransferTest, ReadsNoFurtherThanReceiversTake) {
  a_->HoldAnswers();
  b_->HoldAnswers();
  SliceTransferOptions options = kShortOfMemory;
  options.send_deadline = absl::Seconds(1);  // time for the reads that may be held
  SliceTransfer transfer(options, &plan_, reader_.get(), {a_.get(), b_.get()}, &progress_);
  const absl::Status status = transfer.Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("49152 bytes"), std::string::npos) << status;
  EXPECT_EQ(source_->bytes_read(), options.max_held_bytes);
}

TEST_F(SliceTransferTest, ReadsOnOnceReceiversHaveTaken) {
  a_->HoldAnswers();
  b_->HoldAnswers();
  SliceTransfer transfer(kShortOfMemory, &plan_, reader_.get(), {a_.get(), b_.get()}, &progress_);
  std::thread receivers([&] {
    a_->AnswerHeld();
    b_->AnswerHeld();
  });
  EXPECT_TRUE(transfer.Run().ok());
  receivers.join();
  EXPECT_TRUE(a_->complete());
  EXPECT_TRUE(b_->complete());
}

}  // namespace
}  // namespace baton::loader
