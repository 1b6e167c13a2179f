// A transfer of weights between two processes of this machine.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
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

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  if (const auto transports = baton::PartnerArgument(argc, argv)) {
    return baton::RunPartner(*transports);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
