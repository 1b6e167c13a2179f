#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/log/log.h"
#include "kernels/cuda/collectives.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/nccl_collectives.h"
#include "kernels/cuda/peer_exchange.cuh"
#include "kernels/cuda/plan/collective_plan.h"

namespace baton::kernels::cuda {
namespace {

// One device holds all ranks: nobody to wait for. Counts and columns are in units.
template <typename Unit>
__global__ void __launch_bounds__(kUnitThreads)
    SumLocalKernel(LocalParts<Unit> parts, int num_parts, PartRows<Unit> out, int64_t count) {
  const int64_t u = UnitOf(ThisThread());
  if (u < count) SumLocalUnit(parts, num_parts, out, u);
}

template <typename Unit>
__global__ void __launch_bounds__(kUnitThreads)
    GatherLocalKernel(LocalParts<Unit> parts, int num_parts, Unit* out, int64_t out_stride,
                      int64_t columns, int64_t count) {
  const int64_t u = UnitOf(ThisThread());
  if (u < count) GatherLocalUnit(parts, num_parts, out, out_stride, columns, u);
}

template <typename Unit>
__global__ void __launch_bounds__(kExchangeThreads)
    SumPartsKernel(ExchangeView view, LocalParts<Unit> local, PartRows<Unit> out, int64_t first,
                   int64_t count, bool two_shots) {
  SumPartsBody(DeviceLane(), view, local, out, first, count, static_cast<int>(blockIdx.x),
               two_shots);
}

template <typename Unit>
__global__ void __launch_bounds__(kExchangeThreads)
    GatherPartsKernel(ExchangeView view, LocalParts<Unit> local, Unit* out, int64_t out_stride,
                      int64_t columns, int64_t first, int64_t count) {
  GatherPartsBody(DeviceLane(), view, local, out, out_stride, columns, first, count,
                  static_cast<int>(blockIdx.x));
}

bool DividesByFour(const TensorView& view) {
  return view.columns % 4 == 0 && view.row_stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(view.data) % (4 * SizeOf(view.type)) == 0;
}

bool DivideByFour(std::span<const TensorView> parts, const TensorView& out) {
  return DividesByFour(out) && std::all_of(parts.begin(), parts.end(), DividesByFour);
}

template <typename Unit>
LocalParts<Unit> PartsOf(std::span<const TensorView> views) {
  BATON_CHECK(!views.empty() && views.size() <= static_cast<size_t>(kMostRanks));
  LocalParts<Unit> parts = {};
  for (size_t i = 0; i < views.size(); ++i) {
    BATON_CHECK(views[i].rows == views[0].rows && views[i].columns == views[0].columns);
    parts.rank[i] = {static_cast<const Unit*>(views[i].data),
                     views[i].columns / kUnitElements<Unit>,
                     views[i].row_stride / kUnitElements<Unit>};
  }
  return parts;
}

// What the ends of a team share.
struct ExchangeMemory {
  std::vector<std::unique_ptr<CudaBuffer>> buffers;
};

class CudaCollectives final : public Collectives {
 public:
  CudaCollectives(int device, cudaStream_t stream, const ExchangeView& view,
                  std::shared_ptr<ExchangeMemory> memory)
      : device_(device), stream_(stream), view_(view), memory_(std::move(memory)) {}
  // What is queued reads and writes the exchange memory, which goes with the last end.
  ~CudaCollectives() override {
    cudaSetDevice(device_);
    cudaStreamSynchronize(stream_);
  }

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    CheckCuda(cudaSetDevice(device_), "choosing the device");
    CheckNumber(local_partials);
    BATON_CHECK(out.type == DataType::kFloat32 &&
                local_partials[0].num_elements() == out.num_elements());
    if (DivideByFour(local_partials, out)) {
      Sum<Quad<float>>(local_partials, out);
    } else {
      Sum<float>(local_partials, out);
    }
  }

  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    CheckCuda(cudaSetDevice(device_), "choosing the device");
    CheckNumber(local_shards);
    BATON_CHECK(out.columns == view_.num_ranks * local_shards[0].columns &&
                out.rows == local_shards[0].rows && out.type == local_shards[0].type);
    const bool in_fours = DivideByFour(local_shards, out);
    if (SizeOf(out.type) == 4 && in_fours) {
      Gather<Quad<uint32_t>>(local_shards, out);
    } else if (SizeOf(out.type) == 4) {
      Gather<uint32_t>(local_shards, out);
    } else if (in_fours) {
      Gather<Quad<uint16_t>>(local_shards, out);
    } else {
      Gather<uint16_t>(local_shards, out);
    }
  }

  uint64_t working_bytes() const override {
    return memory_->buffers.empty() ? 0 : memory_->buffers[static_cast<size_t>(view_.me)]->bytes();
  }

 private:
  // The kernels read one part of each rank that the device has.
  void CheckNumber(std::span<const TensorView> parts) const {
    BATON_CHECK(static_cast<int>(parts.size()) == view_.local_ranks(view_.me))
        << parts.size() << " parts of " << view_.local_ranks(view_.me) << " ranks";
  }

  template <typename Unit>
  void Sum(std::span<const TensorView> partials, const TensorView& out) {
    const auto parts = PartsOf<Unit>(partials);
    const int64_t count = out.num_elements();
    const PartRows<Unit> rows = {static_cast<Unit*>(out.data), out.columns / kUnitElements<Unit>,
                                 out.row_stride / kUnitElements<Unit>};
    if (view_.num_devices == 1) {
      const int64_t units = count / kUnitElements<Unit>;
      LaunchPlanned("AllReduceSum", SumLocalKernel<Unit>, UnitsLaunch(units), stream_, parts,
                    static_cast<int>(partials.size()), rows, units);
      return;
    }
    for (const int64_t first : ExchangeCalls(count)) {
      LaunchPlanned("AllReduceSum", SumPartsKernel<Unit>, ExchangeLaunch(), stream_, view_, parts,
                    rows, first, ExchangeCallLength(first, count), count > kOneShotFloats);
    }
  }

  template <typename Unit>
  void Gather(std::span<const TensorView> shards, const TensorView& out) {
    const auto parts = PartsOf<Unit>(shards);
    const int64_t count = shards[0].num_elements();
    const int64_t columns = shards[0].columns / kUnitElements<Unit>;
    const int64_t out_stride = out.row_stride / kUnitElements<Unit>;
    Unit* data = static_cast<Unit*>(out.data);
    if (view_.num_devices == 1) {
      const int64_t units = count / kUnitElements<Unit>;
      LaunchPlanned("AllGatherColumns", GatherLocalKernel<Unit>, UnitsLaunch(units), stream_, parts,
                    static_cast<int>(shards.size()), data, out_stride, columns, units);
      return;
    }
    for (const int64_t first : ExchangeCalls(count)) {
      LaunchPlanned("AllGatherColumns", GatherPartsKernel<Unit>, ExchangeLaunch(), stream_, view_,
                    parts, data, out_stride, columns, first, ExchangeCallLength(first, count));
    }
  }

  const int device_;
  const cudaStream_t stream_;
  const ExchangeView view_;
  const std::shared_ptr<ExchangeMemory> memory_;
};

absl::Status ConnectPeers(const std::vector<TeamDevice>& devices) {
  for (const TeamDevice& reader : devices) {
    if (absl::Status status = ToStatus(cudaSetDevice(reader.device), "choosing the device");
        !status.ok()) {
      return status;
    }
    for (const TeamDevice& owner : devices) {
      if (owner.device == reader.device) continue;
      int can_read = 0;
      cudaDeviceCanAccessPeer(&can_read, reader.device, owner.device);
      if (can_read == 0) {
        return absl::FailedPreconditionError(absl::StrCat(
            "CUDA device ", reader.device, " cannot read the memory of device ", owner.device));
      }
      const cudaError_t error = cudaDeviceEnablePeerAccess(owner.device, 0);
      if (error == cudaSuccess) continue;
      cudaGetLastError();  // the next launch would find it
      if (error != cudaErrorPeerAccessAlreadyEnabled) {
        return absl::FailedPreconditionError(
            absl::StrCat("CUDA device ", reader.device, " is refused the memory of device ",
                         owner.device, ": ", cudaGetErrorString(error)));
      }
    }
  }
  return absl::OkStatus();
}

// One device's exchange memory, all zeros.
absl::StatusOr<std::unique_ptr<CudaBuffer>> AllocateExchange(const TeamDevice& device, size_t index,
                                                             ExchangeView& view) {
  const int ranks = view.local_ranks(static_cast<int>(index));
  CheckCuda(cudaSetDevice(device.device), "choosing the device");
  absl::StatusOr<std::unique_ptr<CudaBuffer>> memory =
      CudaBuffer::CreateForPeers(static_cast<size_t>(ExchangeBytes(ranks)), device.stream);
  if (!memory.ok()) return memory;
  // Peers may write flags as soon as the team stands.
  CheckCuda(cudaStreamSynchronize(device.stream), "zeroing exchange memory");
  char* data = static_cast<char*>((*memory)->data());
  view.parts[index] = reinterpret_cast<float*>(data);
  view.sums[index] = view.parts[index] + 2 * ranks * kExchangeFloats;
  view.flags[index] = reinterpret_cast<uint32_t*>(data + ExchangeFlagsOffset(ranks));
  return memory;
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Collectives>>> CreateCollectives(
    int num_ranks, const std::vector<TeamDevice>& devices, bool through_nccl) {
  if (devices.size() > static_cast<size_t>(kMostDevices) || num_ranks > kMostRanks) {
    return absl::InvalidArgumentError(absl::StrCat(num_ranks, " ranks on ", devices.size(),
                                                   " devices; a team has at most ", kMostRanks,
                                                   " on ", kMostDevices));
  }
  if (through_nccl) return CreateNcclCollectives(num_ranks, devices);
  ExchangeView view;
  view.num_devices = static_cast<int>(devices.size());
  view.num_ranks = num_ranks;
  for (size_t d = 0; d < devices.size(); ++d) view.first_rank[d] = devices[d].first_rank;
  view.first_rank[devices.size()] = num_ranks;
  auto memory = std::make_shared<ExchangeMemory>();
  if (devices.size() > 1) {
    if (absl::Status status = ConnectPeers(devices); absl::IsFailedPrecondition(status)) {
      BATON_LOG(WARNING) << status.message() << ": their sums go through NCCL";
      return CreateNcclCollectives(num_ranks, devices);
    } else if (!status.ok()) {
      return status;
    }
    for (size_t d = 0; d < devices.size(); ++d) {
      auto buffer = AllocateExchange(devices[d], d, view);
      if (!buffer.ok()) return buffer.status();
      memory->buffers.push_back(*std::move(buffer));
    }
  }
  std::vector<std::unique_ptr<Collectives>> ends;
  for (size_t d = 0; d < devices.size(); ++d) {
    view.me = static_cast<int>(d);
    view.tickets =
        view.flags[d] == nullptr ? nullptr : view.flags[d] + kExchangeBlocks * kMostDevices;
    ends.push_back(
        std::make_unique<CudaCollectives>(devices[d].device, devices[d].stream, view, memory));
  }
  return ends;
}

}  // namespace baton::kernels::cuda
