// How fast weights leave the storage, against a plain read of the same file.
//
// One file of 512 MiB with 64 matrices, wanted by 8 ranks: half of them cut by rows, half by
// columns. `cold` drops the file from the page cache before each round, `warm` reads it from there.
//   PlainRead     read() of 2 MiB at a time: what the storage gives
//   LoaderRead    the loader's plan, reads and cuts into chunks, which go nowhere
//   LoaderSend    the same through UCX into the memory of 8 receivers in this process
// The aim is LoaderRead >= 0.9 x PlainRead, cold and warm. Where the storage is slower than UCX and
// checksums, LoaderSend cold reaches that too.
#include <fcntl.h>
#include <memory>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

#include "absl/time/clock.h"
#include "benchmark/benchmark.h"

#include "common/log/check.h"
#include "common/transport/chunk_receiver.h"
#include "common/transport/chunk_sender.h"
#include "services/model_loader/format/checkpoint.h"
#include "services/model_loader/shard/read_plan.h"
#include "services/model_loader/transfer/slice_transfer.h"
#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

constexpr uint64_t kRows = 1024;
constexpr uint64_t kColumns = 4096;
constexpr uint64_t kMatrices = 64;
constexpr uint64_t kRanks = 8;
constexpr uint64_t kReadBytes = 2 << 20;
constexpr uint64_t kChunkBytes = 4 << 20;
constexpr int kThreads = 4;

// The file, its checkpoint and the plan; made once.
struct World {
  World() : folder("loader_bench") {
    std::mt19937_64 random(1);
    std::vector<testing::WrittenTensor> tensors;
    for (uint64_t i = 0; i < kMatrices; ++i) {
      std::string data(kRows * kColumns * 2, '\0');
      for (size_t at = 0; at < data.size(); at += 8) {
        const uint64_t word = random();
        data.replace(at, 8, reinterpret_cast<const char*>(&word), 8);
      }
      tensors.push_back({"t" + std::to_string(i), "BF16", {kRows, kColumns}, std::move(data)});
    }
    testing::WriteFile(path(), testing::SafetensorsFile(tensors));
    const int file = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    BATON_CHECK(file >= 0 && fsync(file) == 0);
    close(file);
    checkpoint = Checkpoint::Open({folder.path()}, {}).value();
    for (uint64_t rank = 0; rank < kRanks; ++rank) AddRank(rank);
    plan = BuildReadPlan(targets, {.job_bytes = kReadBytes, .chunk_bytes = kChunkBytes});
  }

  std::string path() const { return folder.File("model.safetensors"); }

  void AddRank(uint64_t rank) {
    std::vector<CheckedSlice>& slices = targets.emplace_back();
    for (uint64_t i = 0; i < kMatrices; ++i) {
      CheckedSlice slice = {
          checkpoint->Find("t" + std::to_string(i)), kColumns, 2, 0, kRows, 0, kColumns};
      const uint64_t size = i % 2 == 0 ? kRows / kRanks : kColumns / kRanks;
      (i % 2 == 0 ? slice.row_begin : slice.column_begin) = rank * size;
      (i % 2 == 0 ? slice.row_end : slice.column_end) = (rank + 1) * size;
      slices.push_back(slice);
    }
  }

  // Drops the file from the page cache, or brings it all in.
  void Prepare(bool cold) const {
    const int file = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    BATON_CHECK(file >= 0);
    if (cold) {
      BATON_CHECK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);
    } else {
      std::vector<char> buffer(kReadBytes);
      while (read(file, buffer.data(), buffer.size()) > 0) {
      }
    }
    close(file);
  }

  testing::TempFolder folder;
  std::unique_ptr<Checkpoint> checkpoint;
  std::vector<std::vector<CheckedSlice>> targets;
  ReadPlan plan;
};

World& TheWorld() {
  static World world;
  return world;
}

// Takes every chunk at once.
class NowhereSender final : public ChunkSender {
 public:
  absl::Status SendChunk(uint32_t, uint64_t, std::span<const std::byte> payload, absl::Time,
                         Done done) override {
    benchmark::DoNotOptimize(payload.data());
    done(absl::OkStatus());
    return absl::OkStatus();
  }
  absl::Status Finish(absl::Time) override { return absl::OkStatus(); }
  void Cancel(const absl::Status&) override {}
  uint64_t taken_bytes() const override { return 0; }
  std::string DescribeTransport() const override { return "nowhere"; }
};

// The memory of one receiver.
class MemorySink final : public SliceSink {
 public:
  MemorySink(ChunkReceiver* receiver, uint64_t transfer_id, const std::vector<uint64_t>& sizes)
      : receiver_(*receiver), transfer_id_(transfer_id) {
    for (const uint64_t size : sizes) memory_.emplace_back(size);
  }
  absl::StatusOr<std::span<std::byte>> Destination(size_t index) override {
    return std::span<std::byte>(memory_[index]);
  }
  void SliceArrived(size_t index) override { receiver_.ReleaseSlice(transfer_id_, index); }

 private:
  ChunkReceiver& receiver_;
  const uint64_t transfer_id_;
  std::vector<std::vector<std::byte>> memory_;
};

void SetRate(benchmark::State& state) {
  const World& world = TheWorld();
  state.SetBytesProcessed(static_cast<int64_t>(world.plan.read_bytes) * state.iterations());
  state.counters["read_per_needed"] =
      static_cast<double>(world.plan.read_bytes) / static_cast<double>(world.plan.needed_bytes);
}

void PlainRead(benchmark::State& state, bool cold) {
  World& world = TheWorld();
  std::vector<char> buffer(kReadBytes);
  for (auto _ : state) {
    state.PauseTiming();
    world.Prepare(cold);
    state.ResumeTiming();
    const int file = open(world.path().c_str(), O_RDONLY | O_CLOEXEC);
    while (read(file, buffer.data(), buffer.size()) > 0) benchmark::DoNotOptimize(buffer.data());
    close(file);
  }
  SetRate(state);
}

void RunTransfer(const std::vector<ChunkSender*>& senders, RangeReader* reader) {
  LoadProgress progress;
  SliceTransfer transfer({.num_threads = kThreads, .chunk_bytes = kChunkBytes}, &TheWorld().plan,
                         reader, senders, &progress);
  BATON_CHECK_OK(transfer.Run());
}

void LoaderRead(benchmark::State& state, bool cold) {
  World& world = TheWorld();
  const auto reader = RangeReader::Create({.num_threads = kThreads, .buffer_bytes = kReadBytes},
                                          &world.checkpoint->folder())
                          .value();
  NowhereSender nowhere;
  for (auto _ : state) {
    state.PauseTiming();
    world.Prepare(cold);
    state.ResumeTiming();
    RunTransfer(std::vector<ChunkSender*>(kRanks, &nowhere), reader.get());
  }
  SetRate(state);
}

void LoaderSend(benchmark::State& state, bool cold, const char* transports) {
  World& world = TheWorld();
  const auto reader = RangeReader::Create({.num_threads = kThreads, .buffer_bytes = kReadBytes},
                                          &world.checkpoint->folder())
                          .value();
  const auto receiving = Transport::Create({"receiver", transports}).value();
  const auto sending = Transport::Create({"sender", transports}).value();
  const auto receiver = ChunkReceiver::Create(receiving.get());
  std::vector<std::unique_ptr<MemorySink>> sinks;
  for (uint64_t rank = 0; rank < kRanks; ++rank) {
    std::vector<uint64_t> sizes;
    for (const CheckedSlice& slice : world.targets[rank]) sizes.push_back(slice.bytes());
    sinks.push_back(std::make_unique<MemorySink>(receiver.get(), rank, sizes));
  }
  for (auto _ : state) {
    state.PauseTiming();
    world.Prepare(cold);
    std::vector<std::unique_ptr<ChunkSender>> senders;
    std::vector<ChunkSender*> borrowed;
    for (uint64_t rank = 0; rank < kRanks; ++rank) {
      std::vector<uint64_t> sizes;
      for (const CheckedSlice& slice : world.targets[rank]) sizes.push_back(slice.bytes());
      BATON_CHECK_OK(receiver->BeginTransfer({rank, sizes, kChunkBytes, sinks[rank].get()}));
      senders.push_back(ChunkSender::Create(sending.get(), receiving->address(), rank,
                                            absl::Now() + absl::Seconds(10))
                            .value());
      borrowed.push_back(senders.back().get());
    }
    state.ResumeTiming();
    RunTransfer(borrowed, reader.get());
    state.PauseTiming();
    senders.clear();
    for (uint64_t rank = 0; rank < kRanks; ++rank) receiver->EndTransfer(rank);
    state.ResumeTiming();
  }
  SetRate(state);
}

BENCHMARK_CAPTURE(PlainRead, cold, true)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderRead, cold, true)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderSend, cold_tcp, true, "tcp")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderSend, cold_sm, true, "sm")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(PlainRead, warm, false)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderRead, warm, false)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderSend, warm_tcp, false, "tcp")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LoaderSend, warm_sm, false, "sm")
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace baton::loader

BENCHMARK_MAIN();
