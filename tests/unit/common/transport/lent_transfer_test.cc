// A transfer of weights between two processes of this machine, either of which may be the partner.
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

#include "common/transport/chunk_receiver.h"
#include "common/transport/chunk_sender.h"
#include "common/transport/lent_memory.h"
#include "common/transport/transport.h"
#include "tests/unit/common/transport/forked_child.h"
#include "tests/unit/common/transport/partner_program.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr uint64_t kTransfer = 77;
constexpr size_t kChunkBytes = 1 << 20;
// Long chunks, ones that are too short to be lent, a last chunk of each kind.
const std::vector<uint64_t> kSlices = {100, 3u << 20, kMinLentBytes - 1, (1u << 20) + 700001,
                                       (2u << 20) + 5};
constexpr uint64_t kLentBytes = (3u << 20) + (1u << 20) + 700001 + (2u << 20);

std::vector<std::byte> SliceBytes(size_t index) {
  return RandomBytes(kSlices[index], static_cast<uint32_t>(index));
}

TransportOptions Options(const char* name, const std::string& transports) {
  return {.name = name, .transports = transports, .net_devices = transports == "tcp" ? "lo" : ""};
}

class MemorySink final : public SliceSink {
 public:
  MemorySink() {
    for (const uint64_t bytes : kSlices) slices_.emplace_back(bytes);
  }
  void set_receiver(ChunkReceiver* receiver) { receiver_ = receiver; }
  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override {
    return std::span(slices_[slice_index]);
  }
  void SliceArrived(size_t slice_index) override {
    receiver_->ReleaseSlice(kTransfer, slice_index);
  }
  bool HoldsEverySlice() const {
    for (size_t i = 0; i < slices_.size(); ++i)
      if (slices_[i] != SliceBytes(i)) return false;
    return true;
  }

 private:
  ChunkReceiver* receiver_ = nullptr;
  std::vector<std::vector<std::byte>> slices_;
};

// The partner's program: takes one transfer. Ends with 0 if its bytes were right and the long
// chunks copied: what came in frames is shorter than what is counted.
int RunPartner(const std::string& transports) {
  const auto transport = Transport::Create(Options("worker", transports));
  if (!transport.ok()) return 1;
  MemorySink sink;
  const auto receiver = ChunkReceiver::Create(transport->get());
  sink.set_receiver(receiver.get());
  const absl::Status begun = receiver->BeginTransfer({.transfer_id = kTransfer,
                                                      .slice_bytes = kSlices,
                                                      .max_chunk_bytes = kChunkBytes,
                                                      .sink = &sink});
  if (!begun.ok() || !TellAddress((*transport)->address())) return 2;
  if (!receiver->WaitComplete(kTransfer, Soon()).ok()) return 3;
  if (!sink.HoldsEverySlice()) return 4;
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  const TransportCounters counters = (*transport)->counters();
  return counters.frames_refused == 0 && counters.bytes_received > kLentBytes ? 0 : 5;
}

// Of the transfers that a partner lends: as many slices of a chunk.
constexpr size_t kNumLent = 48;
// The argument of a lending partner: this, and the receiver's address in hex.
constexpr absl::string_view kLends = "lends ";

std::vector<std::byte> LentSlice(size_t index) {
  return RandomBytes(kChunkBytes, 100 + static_cast<uint32_t>(index));
}

class LentSink final : public SliceSink {
 public:
  // `last`: the slice whose arrival is awaited.
  explicit LentSink(size_t last) : last_(last), memory_(kNumLent * kChunkBytes) {}
  void set_receiver(ChunkReceiver* receiver) { receiver_ = receiver; }
  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override {
    return Slice(slice_index);
  }
  void SliceArrived(size_t slice_index) override {
    receiver_->ReleaseSlice(kTransfer, slice_index);
    if (slice_index == last_) arrived_.Notify();
  }
  bool Await() { return arrived_.WaitForNotificationWithTimeout(absl::Seconds(30)); }
  bool Holds(size_t slice_index) {
    const auto slice = Slice(slice_index);
    const auto expected = LentSlice(slice_index);
    return std::equal(slice.begin(), slice.end(), expected.begin(), expected.end());
  }

 private:
  std::span<std::byte> Slice(size_t slice_index) {
    return std::span(memory_).subspan(slice_index * kChunkBytes, kChunkBytes);
  }

  const size_t last_;
  std::vector<std::byte> memory_;
  ChunkReceiver* receiver_ = nullptr;
  absl::Notification arrived_;
};

// The lending partner's program: tells its address when its first chunk has been copied, sends all
// others but the last, and that one when its input ends. Ends with 0 if the receiver took them all.
int RunLender(absl::string_view hex_address) {
  const auto transport = Transport::Create(Options("loader", "tcp"));
  if (!transport.ok()) return 1;
  auto sender =
      ChunkSender::Create(transport->get(), absl::HexStringToBytes(hex_address), kTransfer, Soon());
  if (!sender.ok()) return 2;
  std::vector<std::vector<std::byte>> slices;
  for (size_t i = 0; i < kNumLent; ++i) slices.push_back(LentSlice(i));
  const auto send = [&](size_t slice) {
    return (*sender)->SendChunk(static_cast<uint32_t>(slice), 0, slices[slice], Soon(), nullptr);
  };
  if (!send(0).ok() || !(*sender)->Finish(Soon()).ok()) return 3;
  if (!absl::StrContains((*sender)->DescribeTransport(), "lent memory")) return 4;
  if (!TellAddress((*transport)->address())) return 5;
  for (size_t i = 1; i + 1 < kNumLent; ++i)
    if (!send(i).ok()) return 6;
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return send(kNumLent - 1).ok() && (*sender)->Finish(Soon()).ok() ? 0 : 7;
}

class LentTransferOver : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Both, LentTransferOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(LentTransferOver, IsCopiedByAnotherProcess) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  PartnerProcess worker(GetParam());
  const auto loader = *Transport::Create(Options("loader", GetParam()));
  auto sender = *ChunkSender::Create(loader.get(), worker.address(), kTransfer, Soon());
  std::vector<std::vector<std::byte>> slices;
  for (size_t i = 0; i < kSlices.size(); ++i) slices.push_back(SliceBytes(i));
  // The first long chunk alone, so that all others are lent if it was copied.
  const auto send = [&](size_t slice, size_t offset) {
    const size_t size = std::min(kChunkBytes, slices[slice].size() - offset);
    return sender->SendChunk(static_cast<uint32_t>(slice), offset,
                             {slices[slice].data() + offset, size}, Soon(), nullptr);
  };
  ASSERT_TRUE(send(1, 0).ok());
  ASSERT_TRUE(sender->Finish(Soon()).ok());
  EXPECT_TRUE(absl::StrContains(sender->DescribeTransport(), "lent memory"));
  for (size_t i = 0; i < slices.size(); ++i) {
    for (size_t offset = 0; offset < slices[i].size(); offset += kChunkBytes) {
      if (i == 1 && offset == 0) continue;
      ASSERT_TRUE(send(i, offset).ok());
    }
  }
  const absl::Status finished = sender->Finish(Soon());
  EXPECT_TRUE(finished.ok()) << finished;
  // What went over UCX is what was not lent: 24 bytes stand for each lent chunk.
  EXPECT_LT(loader->counters().bytes_sent, kMinLentBytes + 1000);
  worker.EndInput();
  EXPECT_EQ(worker.Wait(), 0);
}

// At several points of a transfer; what was copied by then is right, and whoever comes next can
// lend all of it. Not over shared memory, which a killed partner can stop.
TEST(LentTransfer, EndsWithALenderThatIsKilled) {
  if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
    GTEST_SKIP() << reason;
  }
  const auto worker = *Transport::Create(Options("worker", "tcp"));
  const auto receiver = ChunkReceiver::Create(worker.get());
  const std::string argument = absl::StrCat(kLends, absl::BytesToHexString(worker->address()));
  const auto begin = [&](LentSink& sink) {
    sink.set_receiver(receiver.get());
    return receiver->BeginTransfer({.transfer_id = kTransfer,
                                    .slice_bytes = std::vector<uint64_t>(kNumLent, kChunkBytes),
                                    .max_chunk_bytes = kChunkBytes,
                                    .sink = &sink});
  };
  for (const size_t last : {size_t{0}, size_t{5}, kNumLent / 2, kNumLent - 2}) {
    LentSink sink(last);
    ASSERT_TRUE(begin(sink).ok());
    PartnerProcess loader(argument);
    ASSERT_FALSE(loader.address().empty()) << "ended with " << loader.Wait();
    ASSERT_TRUE(sink.Await());
    loader.Kill();
    const absl::Status result = receiver->WaitComplete(kTransfer, Soon());
    EXPECT_EQ(result.code(), absl::StatusCode::kUnavailable) << result;
    receiver->EndTransfer(kTransfer);
    EXPECT_TRUE(sink.Holds(last));
  }
  EXPECT_EQ(worker->counters().frames_refused, 0u);
  LentSink sink(kNumLent - 1);
  ASSERT_TRUE(begin(sink).ok());
  PartnerProcess loader(argument);
  ASSERT_FALSE(loader.address().empty()) << "ended with " << loader.Wait();
  loader.EndInput();
  const absl::Status result = receiver->WaitComplete(kTransfer, Soon());
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_EQ(loader.Wait(), 0);
  receiver->EndTransfer(kTransfer);
  for (size_t i = 0; i < kNumLent; ++i) EXPECT_TRUE(sink.Holds(i)) << i;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (const auto argument = baton::PartnerArgument(argc, argv)) {
    absl::string_view words = *argument;
    return absl::ConsumePrefix(&words, baton::kLends) ? baton::RunLender(words)
                                                      : baton::RunPartner(*argument);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
