// What a hop between stages and a weight transfer cost, over tcp and shared memory.
//
// Both ends are transports of this process, so processor time counts both. Compare the transfer
// with BM_Copy: what one copy of the same memory costs here.
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "benchmark/benchmark.h"

#include "common/checksum/crc32c.h"
#include "common/transport/chunk_receiver.h"
#include "common/transport/chunk_sender.h"
#include "common/transport/slot_channel.h"
#include "common/transport/transport.h"

namespace baton {
namespace {

absl::Time Soon() { return absl::Now() + absl::Seconds(60); }

std::unique_ptr<Transport> MakeTransport(const char* name, bool tcp) {
  return *Transport::Create(
      {.name = name, .transports = tcp ? "tcp" : "sm", .net_devices = tcp ? "lo" : ""});
}

void BM_Copy(benchmark::State& state) {
  std::vector<std::byte> from(static_cast<size_t>(state.range(0)), std::byte{1});
  std::vector<std::byte> to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void BM_Crc32c(benchmark::State& state) {
  std::vector<std::byte> from(static_cast<size_t>(state.range(0)), std::byte{1});
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(from));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// One step of `range(1)` bytes in 8 ranks' parts: acquire, send, receive, release.
void BM_Hop(benchmark::State& state) {
  constexpr size_t kRanks = 8;
  const bool tcp = state.range(0) == 1;
  const size_t part = static_cast<size_t>(state.range(1)) / kRanks;
  const SlotShape shape = {.num_slots = 2, .num_ranks = kRanks, .max_part_bytes = part};
  const auto first = MakeTransport("first", tcp);
  const auto second = MakeTransport("second", tcp);
  const auto sender = *SlotSender::Create(first.get(), shape);
  const auto receiver = *SlotReceiver::Create(second.get(), shape);
  const std::shared_ptr<Peer> peer = *first->Connect(second->address(), Soon());
  if (!receiver->BeginEpoch(1).ok()) return;
  if (!sender->BeginEpoch(1, std::vector<std::shared_ptr<Peer>>(kRanks, peer)).ok()) return;
  uint64_t step = 0;
  for (auto _ : state) {
    ++step;
    for (size_t rank = 0; rank < kRanks; ++rank) {
      const PartKey key = {.epoch = 1, .number = step, .step_id = step, .rank = rank};
      if (!sender->Acquire(key, part, Soon()).ok() || !sender->Send(key).ok()) {
        state.SkipWithError("sending failed");
        return;
      }
    }
    for (size_t rank = 0; rank < kRanks; ++rank) {
      const PartKey key = {.epoch = 1, .number = step, .step_id = step, .rank = rank};
      if (!receiver->Receive(key, part, Soon()).ok()) {
        state.SkipWithError("receiving failed");
        return;
      }
      receiver->Release(key);
    }
  }
}

// Takes slices into memory of its own and forgets them at once.
class DiscardingSink final : public SliceSink {
 public:
  DiscardingSink(ChunkReceiver* receiver, uint64_t transfer_id, size_t slice_bytes)
      : receiver_(receiver), transfer_id_(transfer_id), memory_(slice_bytes) {}
  absl::StatusOr<std::span<std::byte>> Destination(size_t) override { return std::span(memory_); }
  void SliceArrived(size_t slice_index) override {
    receiver_->ReleaseSlice(transfer_id_, slice_index);
  }

 private:
  ChunkReceiver* const receiver_;
  const uint64_t transfer_id_;
  std::vector<std::byte> memory_;
};

// A transfer of 256 MiB, or of 20,000 slices if they are small, in slices of one chunk.
void BM_Transfer(benchmark::State& state) {
  const bool tcp = state.range(0) == 1;
  const auto slice_bytes = static_cast<size_t>(state.range(1));
  const size_t num_slices = std::min<size_t>((size_t{256} << 20) / slice_bytes, 20000);
  const auto loader = MakeTransport("loader", tcp);
  const auto worker = MakeTransport("worker", tcp);
  const std::unique_ptr<ChunkReceiver> receiver = ChunkReceiver::Create(worker.get());
  const std::vector<std::byte> from(slice_bytes, std::byte{1});
  uint64_t id = 0;
  for (auto _ : state) {
    ++id;
    DiscardingSink sink(receiver.get(), id, slice_bytes);
    absl::Status status =
        receiver->BeginTransfer({.transfer_id = id,
                                 .slice_bytes = std::vector<uint64_t>(num_slices, slice_bytes),
                                 .max_chunk_bytes = slice_bytes,
                                 .sink = &sink});
    const auto sender =
        *ChunkSender::Create(loader.get(), worker->address(), id, Soon(), {.lends = false});
    for (uint32_t slice = 0; slice < num_slices && status.ok(); ++slice) {
      status = sender->SendChunk(slice, 0, from, Soon(), nullptr);
    }
    if (status.ok()) status = sender->Finish(Soon());
    receiver->EndTransfer(id);
    if (!status.ok()) {
      state.SkipWithError(status.ToString().c_str());
      return;
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(num_slices * slice_bytes));
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(num_slices));
}

BENCHMARK(BM_Copy)->Arg(4 << 20)->Arg(64 << 20)->UseRealTime();
BENCHMARK(BM_Crc32c)->Arg(4 << 10)->Arg(4 << 20)->UseRealTime();
BENCHMARK(BM_Hop)
    ->ArgNames({"tcp", "bytes"})
    ->ArgsProduct({{0, 1}, {512, 14336, 64 * 14336}})
    ->UseRealTime()
    ->MeasureProcessCPUTime();
BENCHMARK(BM_Transfer)
    ->ArgNames({"tcp", "slice"})
    ->ArgsProduct({{0, 1}, {2048, 4 << 20}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->MeasureProcessCPUTime();

}  // namespace
}  // namespace baton

BENCHMARK_MAIN();
