#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/nccl_collectives.h"
#include "kernels/cuda/nccl_library.h"
#include "kernels/cuda/plan/collective_plan.h"

namespace baton::kernels::cuda {
namespace {

// One thread per element of a chunk (plan/collective_plan.h).
template <typename T>
__global__ void __launch_bounds__(kUnitThreads)
    PackKernel(LocalParts<T> parts, int num_parts, T* to, int64_t pitch, int64_t first,
               int64_t count) {
  const int64_t e = UnitOf(ThisThread());
  if (e < count) PackElement(parts, num_parts, to, pitch, first, e);
}

__global__ void __launch_bounds__(kUnitThreads)
    SumKernel(const float* parts, int num_parts, int64_t pitch, PartRows<float> out, int64_t first,
              int64_t count) {
  const int64_t e = UnitOf(ThisThread());
  if (e < count) SumElement(parts, num_parts, pitch, out, first, e);
}

template <typename T>
__global__ void __launch_bounds__(kUnitThreads)
    SpreadKernel(const T* shards, int num_ranks, int64_t pitch, T* out, int64_t out_stride,
                 int64_t columns, int64_t first, int64_t count) {
  const int64_t e = UnitOf(ThisThread());
  if (e < count) SpreadElement(shards, num_ranks, pitch, out, out_stride, columns, first, e);
}

template <typename T>
LocalParts<T> LocalPartsOf(std::span<const TensorView> views) {
  BATON_CHECK(!views.empty() && views.size() <= static_cast<size_t>(kMostRanks));
  LocalParts<T> parts = {};
  for (size_t i = 0; i < views.size(); ++i) {
    parts.rank[i] = {static_cast<const T*>(views[i].data), views[i].columns, views[i].row_stride};
  }
  return parts;
}

// What one end knows of its team, and its memory.
struct NcclEnd {
  NcclLibrary nccl;
  ncclComm_t communicator = nullptr;
  int device = 0;
  cudaStream_t stream = nullptr;
  int num_devices = 1;
  int me = 0;
  std::vector<int> first_rank;          // of each device, and the number of ranks
  std::unique_ptr<CudaBuffer> sent;     // [local ranks][chunk]
  std::unique_ptr<CudaBuffer> arrived;  // [ranks][chunk]
  std::unique_ptr<CudaBuffer> shares;   // [devices][share of a chunk], this device's first

  int num_ranks() const { return first_rank.back(); }
  int num_local() const { return first_rank[me + 1] - first_rank[me]; }
};

class NcclCollectives final : public Collectives {
 public:
  explicit NcclCollectives(NcclEnd end) : end_(std::move(end)) {}
  ~NcclCollectives() override {
    cudaSetDevice(end_.device);
    cudaStreamSynchronize(end_.stream);
    end_.nccl.CommDestroy(end_.communicator);
  }

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    CheckCuda(cudaSetDevice(end_.device), "choosing the device");
    const int64_t count = out.num_elements();
    CheckNumber(local_partials);
    BATON_CHECK(out.type == DataType::kFloat32 && local_partials[0].num_elements() == count);
    const PartRows<float> rows = {static_cast<float*>(out.data), out.columns, out.row_stride};
    const auto parts = LocalPartsOf<float>(local_partials);
    for (const int64_t first : NcclChunks(count)) {
      const int64_t length = NcclChunkLength(first, count);
      if (length <= kOneShotFloats) {
        SumInOneShot(parts, rows, first, length);
      } else {
        SumInTwoShots(parts, rows, first, length);
      }
    }
  }

  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    CheckCuda(cudaSetDevice(end_.device), "choosing the device");
    CheckNumber(local_shards);
    BATON_CHECK(out.columns == end_.num_ranks() * local_shards[0].columns &&
                out.rows == local_shards[0].rows && out.type == local_shards[0].type);
    if (SizeOf(out.type) == 4) {
      Gather<uint32_t>(local_shards, out);
    } else {
      Gather<uint16_t>(local_shards, out);
    }
  }

  uint64_t working_bytes() const override {
    return end_.sent->bytes() + end_.arrived->bytes() + end_.shares->bytes();
  }

 private:
  void CheckNumber(std::span<const TensorView> parts) const {
    BATON_CHECK(static_cast<int>(parts.size()) == end_.num_local())
        << parts.size() << " parts of " << end_.num_local() << " ranks";
  }
  template <typename T>
  T* sent() const {
    return static_cast<T*>(end_.sent->data());
  }
  template <typename T>
  T* arrived() const {
    return static_cast<T*>(end_.arrived->data());
  }

  template <typename T>
  void Pack(const LocalParts<T>& parts, int64_t pitch, int64_t first, int64_t count) {
    LaunchPlanned("packing parts", PackKernel<T>, UnitsLaunch(count), end_.stream, parts,
                  end_.num_local(), sent<T>(), pitch, first, count);
  }

  // As SumKernel, of what has arrived.
  void AddUp(int num_parts, int64_t pitch, const PartRows<float>& out, int64_t first,
             int64_t count) {
    LaunchPlanned("AllReduceSum", SumKernel, UnitsLaunch(count), end_.stream, arrived<float>(),
                  num_parts, pitch, out, first, count);
  }

  // Row r of `arrived` = rank r's row of `sent`, everywhere.
  void GatherRows(int64_t row_bytes) {
    const NcclLibrary& nccl = end_.nccl;
    nccl.Check(nccl.GroupStart(), "gathering");
    for (int root = 0; root < end_.num_devices; ++root) {
      for (int rank = end_.first_rank[root]; rank < end_.first_rank[root + 1]; ++rank) {
        const int64_t local = root == end_.me ? rank - end_.first_rank[root] : 0;
        nccl.Check(
            nccl.Broadcast(sent<char>() + local * row_bytes, arrived<char>() + rank * row_bytes,
                           static_cast<size_t>(row_bytes), ncclInt8, root, end_.communicator,
                           end_.stream),
            "gathering");
      }
    }
    nccl.Check(nccl.GroupEnd(), "gathering");
  }

  void SumInOneShot(const LocalParts<float>& parts, const PartRows<float>& out, int64_t first,
                    int64_t count) {
    Pack(parts, count, first, count);
    GatherRows(count * int64_t{sizeof(float)});
    AddUp(end_.num_ranks(), count, out, first, count);
  }

  void SumInTwoShots(const LocalParts<float>& parts, const PartRows<float>& out, int64_t first,
                     int64_t count) {
    const NcclLibrary& nccl = end_.nccl;
    const int64_t share = NcclShare(count, end_.num_devices);
    const int64_t pitch = NcclPitch(count, end_.num_devices);
    Pack(parts, pitch, first, count);
    nccl.Check(nccl.GroupStart(), "sending shares");
    for (int peer = 0; peer < end_.num_devices; ++peer) {
      for (int i = 0; i < end_.num_local(); ++i) {
        nccl.Check(nccl.Send(sent<float>() + i * pitch + peer * share, static_cast<size_t>(share),
                             ncclFloat, peer, end_.communicator, end_.stream),
                   "sending shares");
      }
      for (int rank = end_.first_rank[peer]; rank < end_.first_rank[peer + 1]; ++rank) {
        nccl.Check(nccl.Recv(arrived<float>() + rank * share, static_cast<size_t>(share), ncclFloat,
                             peer, end_.communicator, end_.stream),
                   "sending shares");
      }
    }
    nccl.Check(nccl.GroupEnd(), "sending shares");
    auto* sums = static_cast<float*>(end_.shares->data());
    AddUp(end_.num_ranks(), share, PartRows<float>{sums, share, share}, 0, share);
    nccl.Check(nccl.AllGather(sums, arrived<float>(), static_cast<size_t>(share), ncclFloat,
                              end_.communicator, end_.stream),
               "gathering sums");
    AddUp(1, 0, out, first, count);
  }

  template <typename T>
  void Gather(std::span<const TensorView> shards, const TensorView& out) {
    const auto parts = LocalPartsOf<T>(shards);
    const int64_t count = shards[0].num_elements();
    for (const int64_t first : NcclChunks(count)) {
      const int64_t length = NcclChunkLength(first, count);
      Pack(parts, length, first, length);
      GatherRows(length * int64_t{sizeof(T)});
      LaunchPlanned("AllGatherColumns", SpreadKernel<T>, UnitsLaunch(length), end_.stream,
                    arrived<T>(), end_.num_ranks(), length, static_cast<T*>(out.data),
                    out.row_stride, shards[0].columns, first, length);
    }
  }

  NcclEnd end_;
};

absl::Status AllocateEnd(NcclEnd& end) {
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(end.device), "choosing the device"));
  const auto allocate = [&end](int64_t rows, int64_t row_floats,
                               std::unique_ptr<CudaBuffer>* buffer) {
    absl::StatusOr<std::unique_ptr<CudaBuffer>> made = CudaBuffer::CreateForPeers(
        static_cast<size_t>(rows * row_floats) * sizeof(float), end.stream);
    if (made.ok()) *buffer = *std::move(made);
    return made.status();
  };
  const int64_t row = NcclRowRoom(end.num_devices);
  RETURN_IF_ERROR(allocate(end.num_local(), row, &end.sent));
  RETURN_IF_ERROR(allocate(end.num_ranks(), row, &end.arrived));
  return allocate(1, NcclShare(kNcclChunkFloats, end.num_devices), &end.shares);
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Collectives>>> CreateNcclCollectives(
    int num_ranks, const std::vector<TeamDevice>& devices) {
  ASSIGN_OR_RETURN(const NcclLibrary nccl, LoadNccl());
  std::vector<int> numbers;
  std::vector<int> first_rank;
  for (const TeamDevice& device : devices) {
    numbers.push_back(device.device);
    first_rank.push_back(device.first_rank);
  }
  first_rank.push_back(num_ranks);
  std::vector<ncclComm_t> communicators(devices.size());
  RETURN_IF_ERROR(nccl.ToStatus(
      nccl.CommInitAll(communicators.data(), static_cast<int>(numbers.size()), numbers.data()),
      absl::StrCat("joining ", numbers.size(), " devices")));
  std::vector<NcclEnd> ends(devices.size());
  absl::Status status;
  for (size_t d = 0; d < devices.size(); ++d) {
    NcclEnd& end = ends[d];
    end.nccl = nccl;
    end.communicator = communicators[d];
    end.device = devices[d].device;
    end.stream = devices[d].stream;
    end.num_devices = static_cast<int>(devices.size());
    end.me = static_cast<int>(d);
    end.first_rank = first_rank;
    if (status.ok()) status = AllocateEnd(end);
  }
  if (!status.ok()) {
    for (const ncclComm_t communicator : communicators) nccl.CommDestroy(communicator);
    return status;
  }
  std::vector<std::unique_ptr<Collectives>> made;
  for (NcclEnd& end : ends) made.push_back(std::make_unique<NcclCollectives>(std::move(end)));
  return made;
}

}  // namespace baton::kernels::cuda
