#include "kernels/host/shared_memory_collectives.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "common/log/check.h"
#include "common/tensor/aligned_buffer.h"
#include "kernels/host/futex.h"

namespace baton::kernels {
namespace {

// Calls whose tensors, of all ranks together, are at most this large are copied through a staging
// area, which saves the second barrier.
constexpr size_t kStagingBytes = 256 * 1024;

class Barrier {
 public:
  explicit Barrier(uint32_t num_threads) : num_threads_(num_threads) {}

  void Wait() {
    const uint32_t generation = generation_.Load();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      generation_.Advance();
    } else {
      generation_.WaitWhile(generation);
    }
  }

 private:
  const uint32_t num_threads_;
  std::atomic<uint32_t> arrived_{0};
  WaitableWord generation_;
};

// What the ends of a team share. `inputs` and `outputs` are written by their device before a
// barrier and read by others after it.
struct Exchange {
  Exchange(int ranks, int devices)
      : num_ranks(ranks),
        num_devices(devices),
        barrier(static_cast<uint32_t>(devices)),
        staging{AlignedBuffer(kStagingBytes), AlignedBuffer(kStagingBytes)},
        inputs(ranks),
        outputs(devices) {}

  const int num_ranks;
  const int num_devices;
  Barrier barrier;
  // Two areas in turn: who fills one for call n + 2 has passed the barrier of call n + 1, behind
  // which nobody reads call n's any more.
  std::array<AlignedBuffer, 2> staging;
  std::vector<TensorView> inputs;   // [num_ranks]
  std::vector<TensorView> outputs;  // [num_devices]
};

char* RowBytes(const TensorView& view, int64_t row) {
  return static_cast<char*>(view.data) + row * view.row_stride * SizeOf(view.type);
}

void CopyRows(const TensorView& from, const TensorView& to) {
  const size_t bytes = from.columns * SizeOf(from.type);
  for (int64_t row = 0; row < from.rows; ++row) {
    std::memcpy(RowBytes(to, row), RowBytes(from, row), bytes);
  }
}

// to = sum of `parts` in order.
void SumRows(std::span<const TensorView> parts, const TensorView& to) {
  for (int64_t row = 0; row < to.rows; ++row) {
    float* __restrict out = to.Row<float>(row);
    std::memcpy(out, parts[0].Row<float>(row), to.columns * sizeof(float));
    for (size_t rank = 1; rank < parts.size(); ++rank) {
      const float* __restrict part = parts[rank].Row<float>(row);
      for (int64_t column = 0; column < to.columns; ++column) out[column] += part[column];
    }
  }
}

class SharedMemoryCollectives final : public Collectives {
 public:
  SharedMemoryCollectives(std::shared_ptr<Exchange> exchange, int device, int first_rank,
                          int num_local_ranks)
      : exchange_(std::move(exchange)),
        device_(device),
        first_rank_(first_rank),
        num_local_ranks_(num_local_ranks),
        sources_(exchange_->num_ranks) {}

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    CheckShapes(local_partials, out.rows, out.columns);
    BATON_CHECK(out.type == DataType::kFloat32);
    if (out.empty()) return;
    if (exchange_->num_devices == 1) return SumRows(local_partials, out);
    if (Stage(local_partials)) return SumRows(sources_, out);
    Post(local_partials, out);
    // Each device sums a slice of the rows for everyone.
    const int64_t begin = out.rows * device_ / exchange_->num_devices;
    const int64_t count = out.rows * (device_ + 1) / exchange_->num_devices - begin;
    for (int rank = 0; rank < exchange_->num_ranks; ++rank) {
      sources_[rank] = exchange_->inputs[rank].Rows(begin, count);
    }
    SumRows(sources_, out.Rows(begin, count));
    for (int device = 0; device < exchange_->num_devices; ++device) {
      if (device == device_) continue;
      CopyRows(out.Rows(begin, count), exchange_->outputs[device].Rows(begin, count));
    }
    exchange_->barrier.Wait();
  }

  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    const int64_t columns = out.columns / exchange_->num_ranks;
    BATON_CHECK(columns * exchange_->num_ranks == out.columns);
    CheckShapes(local_shards, out.rows, columns);
    if (out.empty()) return;
    if (exchange_->num_devices == 1) {
      std::copy(local_shards.begin(), local_shards.end(), sources_.begin());
      return Gather(columns, out);
    }
    if (Stage(local_shards)) return Gather(columns, out);
    Post(local_shards, out);
    sources_ = exchange_->inputs;
    Gather(columns, out);
    exchange_->barrier.Wait();
  }

  // The staging areas are the team's: its first end counts them.
  uint64_t working_bytes() const override {
    return device_ == 0 ? exchange_->staging.size() * kStagingBytes : 0;
  }

 private:
  void CheckShapes(std::span<const TensorView> local, int64_t rows, int64_t columns) const {
    BATON_CHECK(static_cast<int>(local.size()) == num_local_ranks_) << local.size() << " parts";
    for (const TensorView& view : local) {
      BATON_CHECK(view.rows == rows && view.columns == columns && view.type == local[0].type)
          << view.rows << " x " << view.columns << ", not " << rows << " x " << columns;
    }
  }

  // Copies the local parts to the staging area and waits for the others'; sources_ then names all
  // ranks' copies. False, with nothing done, if they do not fit.
  bool Stage(std::span<const TensorView> local) {
    const TensorView& first = local[0];
    const size_t bytes = first.num_elements() * SizeOf(first.type);
    if (bytes * exchange_->num_ranks > kStagingBytes) return false;
    parity_ ^= 1;
    std::byte* area = exchange_->staging[parity_].data();
    for (int rank = 0; rank < exchange_->num_ranks; ++rank) {
      sources_[rank] = {area + rank * bytes, first.type, first.rows, first.columns, first.columns};
    }
    for (int i = 0; i < num_local_ranks_; ++i) CopyRows(local[i], sources_[first_rank_ + i]);
    exchange_->barrier.Wait();
    return true;
  }

  // Shows the others this device's tensors and waits until all have done so.
  void Post(std::span<const TensorView> local, const TensorView& out) {
    std::copy(local.begin(), local.end(), exchange_->inputs.begin() + first_rank_);
    exchange_->outputs[device_] = out;
    exchange_->barrier.Wait();
  }

  void Gather(int64_t columns, const TensorView& out) const {
    BATON_CHECK(sources_[0].type == out.type);
    for (int rank = 0; rank < exchange_->num_ranks; ++rank) {
      CopyRows(sources_[rank], out.Columns(rank * columns, columns));
    }
  }

  const std::shared_ptr<Exchange> exchange_;
  const int device_;
  const int first_rank_;
  const int num_local_ranks_;
  int parity_ = 0;
  std::vector<TensorView> sources_;  // [num_ranks], filled anew by each call
};

}  // namespace

std::vector<std::unique_ptr<Collectives>> CreateSharedMemoryCollectives(
    int num_ranks, const std::vector<int>& first_ranks) {
  BATON_CHECK(!first_ranks.empty() && first_ranks[0] == 0);
  const int num_devices = static_cast<int>(first_ranks.size());
  auto exchange = std::make_shared<Exchange>(num_ranks, num_devices);
  std::vector<std::unique_ptr<Collectives>> ends;
  for (int device = 0; device < num_devices; ++device) {
    const int end = device + 1 < num_devices ? first_ranks[device + 1] : num_ranks;
    BATON_CHECK(end > first_ranks[device]) << "device " << device << " holds no rank";
    ends.push_back(std::make_unique<SharedMemoryCollectives>(exchange, device, first_ranks[device],
                                                             end - first_ranks[device]));
  }
  return ends;
}

}  // namespace baton::kernels
