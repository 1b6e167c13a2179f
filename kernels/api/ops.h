// The operations of one device, and how a backend makes them. The stage-worker's model code speaks
// to this alone; only its main names a backend.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/api/attention.h"
#include "kernels/api/collectives.h"
#include "kernels/api/embedding.h"
#include "kernels/api/experts.h"
#include "kernels/api/linear.h"
#include "kernels/api/norm.h"
#include "kernels/api/rope.h"
#include "kernels/api/router.h"
#include "kernels/api/sampling.h"
#include "kernels/api/weight_image.h"

namespace baton::kernels {

// Memory of a device; host memory on the CPU.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  // Zeroed at allocation. Aligned to 64 bytes at least.
  virtual void* data() = 0;
  virtual size_t bytes() const = 0;
};

// What a device has, as its driver or system says now.
struct DeviceMemory {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

// All operations of one device, in the order called. What each does stands in its header.
// Threads: one caller at a time, the device's thread; a CPU backend may spread a call over a pool
// of its own. Shapes that disagree are a bug of the caller and end the process; what the world can
// do wrong has been checked before. Buffers and weights that it gives out must go before it does.
class Ops {
 public:
  virtual ~Ops() = default;

  virtual absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) = 0;
  // Between host and device memory; ordered with the operations. Returns when `host` may be reused
  // or read.
  virtual void CopyToDevice(void* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const void* device, size_t bytes) = 0;

  // Packs a weight for products in `compute_type` (float32 or bfloat16). `weight` is in host memory
  // and may be freed after. bfloat16 weights in float32 compute are widened exactly; float32
  // weights in bfloat16 compute are rounded once, to nearest even.
  virtual std::unique_ptr<PackedWeight> Pack(const WeightMatrix& weight, DataType compute_type) = 0;

  // Rows that bands of a weight come in multiples of; 0: this device packs weights whole alone.
  virtual int64_t band_rows() const = 0;
  // Packs one band into `weight`, which the first one makes (it is null before). When every row
  // has come, in any order, the weight is the one that Pack makes of all rows; a row that comes
  // again replaces what it was. For devices with band_rows() > 0.
  virtual void PackBand(const WeightBand& band, DataType compute_type,
                        std::unique_ptr<PackedWeight>& weight) = 0;

  // Names how this device lays out packed weights: what one device exports, any other of the same
  // packing may adopt, of the same build of the program: another may lay them out otherwise under
  // the same name. Empty: this device's weights stay where they are, and the two calls below end
  // the process. Not empty on devices alone that share host memory. Any thread, as the two.
  virtual std::string packing() const = 0;
  // The weight's bytes, which live as long as it does.
  virtual WeightImage Export(const PackedWeight& weight) const = 0;
  // The weight that was exported, over the image's own bytes: they are read in place and never
  // written, and `owner` is kept as long as the weight. InvalidArgument if n, k and form do not
  // give the pieces' number and sizes, a piece is not aligned, or products would read beyond one.
  // Else what the bytes hold is not looked at, nor whether this n, k and type are the ones wanted,
  // which the caller knows.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(
      const WeightImage& image, std::shared_ptr<const void> owner) const = 0;

  virtual void Linear(const LinearArgs& args) = 0;
  virtual void HeadwiseLinear(const HeadwiseLinearArgs& args) = 0;
  virtual void RmsNorm(const RmsNormArgs& args) = 0;
  virtual void AddRmsNorm(const AddRmsNormArgs& args) = 0;
  virtual void Add(const AddArgs& args) = 0;
  virtual void Embed(const EmbedArgs& args) = 0;
  virtual void Rope(const RopeArgs& args) = 0;
  virtual void KvWrite(const KvWriteArgs& args) = 0;
  virtual void MlaAttention(const MlaAttentionArgs& args) = 0;
  // Where Backend::expands_prompts() alone.
  virtual void MlaPromptAttention(const MlaPromptAttentionArgs& args) = 0;
  virtual void SelectExperts(const SelectExpertsArgs& args) = 0;
  virtual void FeedForward(const FeedForwardArgs& args) = 0;
  virtual void Experts(const ExpertsArgs& args) = 0;
  virtual void Sample(const SampleArgs& args) = 0;
  virtual void ScoreTokens(const ScoreTokensArgs& args) = 0;

  // Waits until every operation so far is done.
  virtual void Synchronize() = 0;

  // Whether the device's memory is the host's: operations then read and write any memory, and all
  // devices of a team share one.
  virtual bool shares_host_memory() const = 0;
  virtual DeviceMemory memory() const = 0;
  // Bytes of the device's memory that operations hold for themselves (working memory, tables, not
  // weights). They grow to what the largest calls so far needed.
  virtual uint64_t working_bytes() const = 0;
  // Makes room for all that operations and draws of some shapes can need: calls `work`, which calls
  // them. They run; or, where room can be had for less, they take their working memory and compute
  // nothing, so that what they write means nothing. After it calls of these shapes, and of fewer
  // rows, leave working_bytes() as it is whatever their arguments hold. Collectives in `work` run.
  // A device whose operations hold nothing between calls calls nothing.
  virtual void MakeRoom(absl::FunctionRef<void()> work) = 0;

  // Whether MakeGraph makes any. Elsewhere it does nothing.
  virtual bool keeps_graphs() const = 0;
  // Makes a graph of the operations and collectives that `work` calls, without running them. It
  // calls nothing else: no copies, no draws, no Synchronize. All of it has run before with the same
  // arguments, so that nothing is left to be allocated. A key that has no graph yet; all devices of
  // a team make graphs of the same keys, while none of them runs anything. ResourceExhausted if the
  // device has no memory for it: the key has no graph then, and all others stand.
  virtual absl::Status MakeGraph(uint64_t key, absl::FunctionRef<void()> work) = 0;
  // Runs the key's graph with the very arguments that it was made with, on what device memory holds
  // now; without a graph calls `work`.
  virtual void RunGraph(uint64_t key, absl::FunctionRef<void()> work) = 0;
  // Before memory goes that graphs name.
  virtual void ForgetGraphs() = 0;
};

// A team of devices for one stage: the ranks 0..N-1 spread over `devices` in contiguous runs.
struct Team {
  // With a device first its graphs go, which may name what its collectives hold, then these, which
  // may use the operations' stream.
  struct Device {
    Device() = default;
    Device(int first, int count, std::unique_ptr<Ops> own_ops, std::unique_ptr<Collectives> own_end)
        : first_rank(first),
          num_ranks(count),
          ops(std::move(own_ops)),
          collectives(std::move(own_end)) {}
    Device(Device&&) = default;
    Device& operator=(Device&&) = delete;
    ~Device() {
      if (ops != nullptr) ops->ForgetGraphs();
    }

    int first_rank = 0;
    int num_ranks = 0;
    std::unique_ptr<Ops> ops;
    std::unique_ptr<Collectives> collectives;
  };
  std::vector<Device> devices;
  std::string name;  // backend and variant, for logs: "cpu/avx512_bf16"
};

// Makes teams. Implementations: kernels/reference, kernels/cpu, kernels/cuda.
class Backend {
 public:
  virtual ~Backend() = default;
  // `num_ranks` ranks on `num_devices` devices (1 <= num_devices <= num_ranks). Errors:
  // InvalidArgument, FailedPrecondition (hardware absent).
  virtual absl::StatusOr<Team> CreateTeam(int num_ranks, int num_devices) = 0;
  // Whether its devices have attention in the expanded form, and are faster at prompts with it.
  virtual bool expands_prompts() const = 0;
  // Of the first device; zeros if it says nothing.
  virtual DeviceMemory memory() const = 0;
};

}  // namespace baton::kernels
