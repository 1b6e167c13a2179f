// How fast weights leave the storage, against a plain read of the same file, side by side in turns.
//
//   loader_bench [MIB [TURNS [HELD_MIB]]]        2048, 7, 16
//
// One file of MIB with matrices of 8 MiB, wanted by 8 ranks: half of them cut by rows, half by
// columns. Every turn runs every side once, beginning with another one each time; `cold` drops the
// file from the page cache before each run, `warm` finds it there.
//   plain x1, x4   pread() of 8 MiB at a time by one thread, by four
//   read           the loader's plan, reads and cuts into chunks, which go nowhere
//   send tcp, sm   the same with checksums through UCX into the memory of 8 receivers in here
//   lend           the same, but that receivers copy out of the sender's memory
// Prints medians over the turns, the range, processor seconds per GB, and the median of the turns'
// ratios to plain x1. The aim is read >= 0.9, cold and warm; sends need processor time as well.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
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
constexpr uint64_t kMatrixBytes = kRows * kColumns * 2;
constexpr uint64_t kRanks = 8;
constexpr uint64_t kReadBytes = 2 << 20;
constexpr uint64_t kPlainBytes = 8 << 20;
constexpr uint64_t kChunkBytes = 4 << 20;
constexpr int kThreads = 4;

struct BenchOptions {
  int mebibytes = 2048;
  int turns = 7;
  int held_mebibytes = 16;
};

// The file, its checkpoint and the plan.
class World {
 public:
  explicit World(const BenchOptions& options)
      : num_matrices_(static_cast<uint64_t>(options.mebibytes) / (kMatrixBytes >> 20)),
        held_bytes_(static_cast<uint64_t>(options.held_mebibytes) << 20),
        folder_("loader_bench") {
    WriteModel();
    checkpoint_ = Checkpoint::Open({folder_.path()}, {}).value();
    for (uint64_t rank = 0; rank < kRanks; ++rank) AddRank(rank);
    plan_ = BuildReadPlan(targets_, {.job_bytes = kReadBytes, .chunk_bytes = kChunkBytes});
  }

  // Drops the file from the page cache, or brings it all in.
  void Prepare(bool cold) const {
    const int file = Open();
    if (cold) {
      BATON_CHECK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0);
    } else {
      ReadPlain(file, 1);
    }
    close(file);
  }

  void ReadPlainly(int num_threads) const {
    const int file = Open();
    ReadPlain(file, num_threads);
    close(file);
  }

  void Run(const std::vector<ChunkSender*>& senders) const {
    const auto reader = RangeReader::Create({.num_threads = kThreads, .buffer_bytes = kReadBytes},
                                            &checkpoint_->folder())
                            .value();
    LoadProgress progress;
    SliceTransfer transfer(
        {.num_threads = kThreads, .chunk_bytes = kChunkBytes, .max_held_bytes = held_bytes_},
        &plan_, reader.get(), senders, &progress);
    BATON_CHECK_OK(transfer.Run());
  }

  uint64_t read_bytes() const { return plan_.read_bytes; }
  std::vector<uint64_t> SliceSizes(uint64_t rank) const {
    std::vector<uint64_t> sizes;
    for (const CheckedSlice& slice : targets_[rank]) sizes.push_back(slice.bytes());
    return sizes;
  }

 private:
  std::string path() const { return folder_.File("model.safetensors"); }

  int Open() const {
    const int file = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    BATON_CHECK(file >= 0);
    return file;
  }

  void WriteModel() const {
    std::string header = "{";
    for (uint64_t i = 0; i < num_matrices_; ++i) {
      absl::StrAppend(&header, i == 0 ? "" : ",", "\"t", i, R"(":{"dtype":"BF16","shape":[)", kRows,
                      ",", kColumns, R"(],"data_offsets":[)", i * kMatrixBytes, ",",
                      (i + 1) * kMatrixBytes, "]}");
    }
    header += "}";
    std::mt19937_64 random(1);
    std::vector<uint64_t> matrix(kMatrixBytes / sizeof(uint64_t));
    for (uint64_t& word : matrix) word = random();
    const std::string begin = testing::SafetensorsFile(header, "");
    const int file = open(path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    BATON_CHECK(file >= 0 &&
                write(file, begin.data(), begin.size()) == static_cast<ssize_t>(begin.size()));
    for (uint64_t i = 0; i < num_matrices_; ++i) {
      matrix[0] = i;
      BATON_CHECK(write(file, matrix.data(), kMatrixBytes) == static_cast<ssize_t>(kMatrixBytes));
    }
    BATON_CHECK(fsync(file) == 0);
    close(file);
  }

  void AddRank(uint64_t rank) {
    std::vector<CheckedSlice>& slices = targets_.emplace_back();
    for (uint64_t i = 0; i < num_matrices_; ++i) {
      CheckedSlice slice = {
          checkpoint_->Find(absl::StrCat("t", i)), kColumns, 2, 0, kRows, 0, kColumns};
      const uint64_t size = i % 2 == 0 ? kRows / kRanks : kColumns / kRanks;
      (i % 2 == 0 ? slice.row_begin : slice.column_begin) = rank * size;
      (i % 2 == 0 ? slice.row_end : slice.column_end) = (rank + 1) * size;
      slices.push_back(slice);
    }
  }

  static void ReadPlain(int file, int num_threads) {
    std::atomic<uint64_t> next = 0;
    const auto read_some = [&] {
      std::vector<char> buffer(kPlainBytes);
      ssize_t count = 1;
      while (count > 0)
        count = pread(file, buffer.data(), buffer.size(),
                      static_cast<off_t>(next.fetch_add(kPlainBytes)));
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < num_threads; ++i) threads.emplace_back(read_some);
    read_some();
    for (std::thread& thread : threads) thread.join();
  }

  const uint64_t num_matrices_;
  const uint64_t held_bytes_;
  testing::TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<std::vector<CheckedSlice>> targets_;
  ReadPlan plan_;
};

// Takes every chunk at once.
class NowhereSender final : public ChunkSender {
 public:
  absl::Status SendChunk(uint32_t, uint64_t, std::span<const std::byte>, absl::Time,
                         Done done) override {
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
  explicit MemorySink(const std::vector<uint64_t>& sizes) {
    for (const uint64_t size : sizes) memory_.emplace_back(size);
  }
  void Begin(ChunkReceiver* receiver, uint64_t transfer_id) {
    receiver_ = receiver;
    transfer_id_ = transfer_id;
  }
  absl::StatusOr<std::span<std::byte>> Destination(size_t index) override {
    return std::span<std::byte>(memory_[index]);
  }
  void SliceArrived(size_t index) override { receiver_->ReleaseSlice(transfer_id_, index); }

 private:
  ChunkReceiver* receiver_ = nullptr;
  uint64_t transfer_id_ = 0;
  std::vector<std::vector<std::byte>> memory_;
};

// Two ends of UCX in this process.
class Link {
 public:
  Link(const World* world, const std::string& transports,
       std::vector<std::unique_ptr<MemorySink>>* sinks, const ChunkSenderOptions& options)
      : world_(*world),
        sinks_(*sinks),
        options_(options),
        receiving_(Transport::Create({"receiver", transports}).value()),
        sending_(Transport::Create({"sender", transports}).value()),
        receiver_(ChunkReceiver::Create(receiving_.get(), {.copies_own_memory = true})) {}

  void Connect() {
    for (uint64_t rank = 0; rank < kRanks; ++rank) {
      sinks_[rank]->Begin(receiver_.get(), rank);
      BATON_CHECK_OK(receiver_->BeginTransfer(
          {rank, world_.SliceSizes(rank), kChunkBytes, sinks_[rank].get()}));
      senders_.push_back(ChunkSender::Create(sending_.get(), receiving_->address(), rank,
                                             SteadyNow() + absl::Seconds(10), options_)
                             .value());
    }
  }
  void Send() {
    std::vector<ChunkSender*> borrowed;
    for (const auto& sender : senders_) borrowed.push_back(sender.get());
    world_.Run(borrowed);
  }
  void Disconnect() {
    senders_.clear();
    for (uint64_t rank = 0; rank < kRanks; ++rank) receiver_->EndTransfer(rank);
  }

 private:
  const World& world_;
  std::vector<std::unique_ptr<MemorySink>>& sinks_;
  const ChunkSenderOptions options_;
  const std::unique_ptr<Transport> receiving_;
  const std::unique_ptr<Transport> sending_;
  const std::unique_ptr<ChunkReceiver> receiver_;
  std::vector<std::unique_ptr<ChunkSender>> senders_;
};

struct Side {
  std::string name;
  std::function<void()> before = [] {};
  std::function<void()> run;
  std::function<void()> after = [] {};
  std::vector<double> rates = {};    // bytes per second, by turn
  std::vector<double> seconds = {};  // of processors, by turn
};

double ProcessorSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void RunSide(const World& world, bool cold, Side& side) {
  side.before();
  world.Prepare(cold);
  const double processor = ProcessorSeconds();
  const absl::Time start = SteadyNow();
  side.run();
  const double elapsed = absl::ToDoubleSeconds(SteadyNow() - start);
  side.rates.push_back(static_cast<double>(world.read_bytes()) / elapsed);
  side.seconds.push_back(ProcessorSeconds() - processor);
  side.after();
}

void Print(const World& world, bool cold, const std::vector<Side>& sides) {
  const std::vector<double>& plain = sides.front().rates;
  for (const Side& side : sides) {
    std::vector<double> ratios;
    for (size_t turn = 0; turn < plain.size(); ++turn)
      ratios.push_back(side.rates[turn] / plain[turn]);
    const auto [least, most] = std::minmax_element(side.rates.begin(), side.rates.end());
    std::printf(
        "%s %-9s %6.2f GB/s (%.2f to %.2f), %.2f s of processors per GB, %.2f of plain x1\n",
        cold ? "cold" : "warm", side.name.c_str(), Median(side.rates) / 1e9, *least / 1e9,
        *most / 1e9, Median(side.seconds) * 1e9 / static_cast<double>(world.read_bytes()),
        Median(ratios));
  }
}

void Measure(const BenchOptions& options) {
  const World world(options);
  std::vector<std::unique_ptr<MemorySink>> sinks;
  for (uint64_t rank = 0; rank < kRanks; ++rank)
    sinks.push_back(std::make_unique<MemorySink>(world.SliceSizes(rank)));
  const ChunkSenderOptions never_lent = {.lends = false};
  Link tcp(&world, "tcp", &sinks, never_lent);
  Link sm(&world, "sm", &sinks, never_lent);
  Link lend(&world, "tcp", &sinks, {});
  NowhereSender nowhere;
  const std::vector<ChunkSender*> nowheres(kRanks, &nowhere);
  for (const bool cold : {true, false}) {
    std::vector<Side> sides(6);
    sides[0] = {.name = "plain x1", .run = [&] { world.ReadPlainly(1); }};
    sides[1] = {.name = "plain x4", .run = [&] { world.ReadPlainly(4); }};
    sides[2] = {.name = "read", .run = [&] { world.Run(nowheres); }};
    const auto send = [](const std::string& name, Link& link) {
      return Side{.name = name,
                  .before = [&] { link.Connect(); },
                  .run = [&] { link.Send(); },
                  .after = [&] { link.Disconnect(); }};
    };
    sides[3] = send("send tcp", tcp);
    sides[4] = send("send sm", sm);
    sides[5] = send("lend", lend);
    for (int turn = 0; turn < options.turns; ++turn)
      for (size_t i = 0; i < sides.size(); ++i)
        RunSide(world, cold, sides[(i + static_cast<size_t>(turn)) % sides.size()]);
    Print(world, cold, sides);
  }
}

}  // namespace
}  // namespace baton::loader

int main(int argc, char** argv) {
  baton::loader::BenchOptions options;
  int* const numbers[] = {&options.mebibytes, &options.turns, &options.held_mebibytes};
  bool right = argc <= 4;
  for (int i = 1; right && i < argc; ++i)
    right = absl::SimpleAtoi(argv[i], numbers[i - 1]) && *numbers[i - 1] > 0;
  if (!right || options.mebibytes < 8) {
    std::fprintf(stderr, "usage: loader_bench [MIB [TURNS [HELD_MIB]]]\n");
    return 2;
  }
  baton::loader::Measure(options);
  return 0;
}
