#include <cuda_runtime.h>
#include <utility>

#include "kernels/cuda/peer_exchange.cuh"
#include "tests/conformance/kernels/virtual_devices.h"

namespace baton::kernels::cuda {
namespace {

// One device's end of one call.
struct VirtualEnd {
  VirtualCallKind kind;
  bool in_fours;
  int64_t count;
  int64_t columns;
  float* out;
  int64_t out_size;
  LocalParts<float> ones;
  LocalParts<Quad<float>> fours;
};

template <typename Unit>
__device__ void RunEnd(const ExchangeView& view, const VirtualEnd& end,
                       const LocalParts<Unit>& local) {
  const int block = static_cast<int>(blockIdx.x);
  const int64_t columns = end.columns / kUnitElements<Unit>;
  Unit* out = reinterpret_cast<Unit*>(end.out);
  if (end.kind == VirtualCallKind::kGather) {
    GatherPartsBody(DeviceLane(), view, local, out, view.num_ranks * columns, columns, 0, end.count,
                    block);
  } else {
    SumPartsBody(DeviceLane(), view, local, PartRows<Unit>{out, columns, columns}, 0, end.count,
                 block, end.kind == VirtualCallKind::kSumInTwoShots);
  }
}

// The blocks of one device, as at the end of a kernel; `all` arrivals in all so far.
__device__ void SyncDevice(uint32_t* arrivals, uint32_t all) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    atomicAdd(arrivals, 1u);
    while (*static_cast<volatile uint32_t*>(arrivals) < all) {
    }
    __threadfence();
  }
  __syncthreads();
}

// blockIdx.y: the device; ends [call][device]. A cooperative launch, so that all blocks run at the
// same time. arrivals [device]: zeros if there are several calls.
__global__ void __launch_bounds__(kExchangeThreads)
    VirtualCallsKernel(const ExchangeView* views, const VirtualEnd* ends, int num_calls,
                       uint32_t* arrivals) {
  const ExchangeView& view = views[blockIdx.y];
  for (int call = 0; call < num_calls; ++call) {
    const VirtualEnd& end = ends[call * static_cast<int>(gridDim.y) + view.me];
    if (end.in_fours) {
      RunEnd(view, end, end.fours);
    } else {
      RunEnd(view, end, end.ones);
    }
    if (call + 1 < num_calls) {
      SyncDevice(arrivals + view.me, static_cast<uint32_t>((call + 1) * kExchangeBlocks));
    }
  }
}

// Device memory that is freed with this object; the first error of the runtime.
class Memory {
 public:
  ~Memory() {
    for (void* buffer : buffers_) cudaFree(buffer);
  }
  template <typename T>
  T* Make(size_t count, const T* host = nullptr) {
    void* data = nullptr;
    Note(cudaMalloc(&data, count * sizeof(T)));
    buffers_.push_back(data);
    Note(host == nullptr ? cudaMemset(data, 0, count * sizeof(T))
                         : cudaMemcpy(data, host, count * sizeof(T), cudaMemcpyHostToDevice));
    return static_cast<T*>(data);
  }
  void Note(cudaError_t error) {
    if (error_ == cudaSuccess) error_ = error;
  }
  cudaError_t error() const { return error_; }

 private:
  std::vector<void*> buffers_;
  cudaError_t error_ = cudaSuccess;
};

std::vector<ExchangeView> MakeViews(const std::vector<int>& ranks_of_devices, Memory& memory) {
  ExchangeView view;
  view.num_devices = static_cast<int>(ranks_of_devices.size());
  view.num_ranks = 0;
  for (int d = 0; d < view.num_devices; ++d) {
    view.first_rank[d] = view.num_ranks;
    view.num_ranks += ranks_of_devices[d];
    view.first_rank[d + 1] = view.num_ranks;
    char* buffer = memory.Make<char>(ExchangeBytes(ranks_of_devices[d]));
    view.parts[d] = reinterpret_cast<float*>(buffer);
    view.sums[d] = view.parts[d] + 2 * ranks_of_devices[d] * kExchangeFloats;
    view.flags[d] = reinterpret_cast<uint32_t*>(buffer + ExchangeFlagsOffset(ranks_of_devices[d]));
  }
  std::vector<ExchangeView> views;
  for (int d = 0; d < view.num_devices; ++d) {
    view.me = d;
    view.tickets = view.flags[d] + kExchangeBlocks * kMostDevices;
    views.push_back(view);
  }
  return views;
}

VirtualEnd MakeEnd(const ExchangeView& view, const VirtualCall& call, int64_t columns,
                   Memory& memory) {
  VirtualEnd end = {};
  end.kind = call.kind;
  end.in_fours = columns % 4 == 0 && view.me % 2 == 1;
  end.count = static_cast<int64_t>(call.parts[0].size());
  end.columns = columns;
  end.out_size = call.kind == VirtualCallKind::kGather ? end.count * view.num_ranks : end.count;
  end.out = memory.Make<float>(static_cast<size_t>(end.out_size));
  for (int i = 0; i < view.local_ranks(view.me); ++i) {
    const std::vector<float>& part = call.parts[static_cast<size_t>(view.first_rank[view.me] + i)];
    const float* data = memory.Make(part.size(), part.data());
    end.ones.rank[i] = {data, columns, columns};
    end.fours.rank[i] = {reinterpret_cast<const Quad<float>*>(data), columns / 4, columns / 4};
  }
  return end;
}

// What one run of all calls needs, on the device.
struct VirtualTeam {
  const ExchangeView* views;
  const VirtualEnd* ends;
  uint32_t* arrivals;
  int num_devices;
  int num_calls;
};

cudaError_t LaunchCalls(const VirtualTeam& team, int first, int num_calls, cudaStream_t stream) {
  const VirtualEnd* ends = team.ends + first * team.num_devices;
  void* args[] = {const_cast<const ExchangeView**>(&team.views), &ends, &num_calls,
                  const_cast<uint32_t**>(&team.arrivals)};
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(&VirtualCallsKernel),
                                     dim3(kExchangeBlocks, static_cast<unsigned>(team.num_devices)),
                                     dim3(kExchangeThreads), args, 0, stream);
}

// One run of all calls but as a graph.
void LaunchRun(const VirtualTeam& team, VirtualLaunch launch, cudaStream_t stream, Memory& memory) {
  if (launch == VirtualLaunch::kTogether) {
    const size_t bytes = static_cast<size_t>(team.num_devices) * sizeof(uint32_t);
    memory.Note(cudaMemsetAsync(team.arrivals, 0, bytes, stream));
    memory.Note(LaunchCalls(team, 0, team.num_calls, stream));
    return;
  }
  for (int call = 0; call < team.num_calls; ++call) {
    memory.Note(LaunchCalls(team, call, 1, stream));
  }
}

// What all devices have after one run, call by call; forgotten there.
void TakeResults(const std::vector<VirtualEnd>& ends, int num_devices, cudaStream_t stream,
                 Memory& memory, VirtualResults& results) {
  memory.Note(cudaStreamSynchronize(stream));
  for (size_t i = 0; i < ends.size(); ++i) {
    if (i % static_cast<size_t>(num_devices) == 0) results.of_calls.emplace_back();
    std::vector<float> out(static_cast<size_t>(ends[i].out_size));
    memory.Note(
        cudaMemcpy(out.data(), ends[i].out, out.size() * sizeof(float), cudaMemcpyDeviceToHost));
    memory.Note(cudaMemset(ends[i].out, 0xff, out.size() * sizeof(float)));  // NaN
    results.of_calls.back().push_back(std::move(out));
  }
}

}  // namespace

VirtualResults RunOnVirtualDevices(const std::vector<int>& ranks_of_devices,
                                   const std::vector<VirtualCall>& calls, int64_t columns,
                                   VirtualLaunch launch, int num_runs) {
  Memory memory;
  const std::vector<ExchangeView> views = MakeViews(ranks_of_devices, memory);
  std::vector<VirtualEnd> ends;
  for (const VirtualCall& call : calls) {
    for (const ExchangeView& view : views) ends.push_back(MakeEnd(view, call, columns, memory));
  }
  const VirtualTeam team = {memory.Make(views.size(), views.data()),
                            memory.Make(ends.size(), ends.data()),
                            memory.Make<uint32_t>(views.size()), static_cast<int>(views.size()),
                            static_cast<int>(calls.size())};
  cudaStream_t stream = nullptr;
  memory.Note(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  if (launch == VirtualLaunch::kCaptured) {
    memory.Note(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    LaunchRun(team, launch, stream, memory);
    memory.Note(cudaStreamEndCapture(stream, &graph));
    memory.Note(cudaGraphInstantiate(&executable, graph, 0));
  }
  VirtualResults results;
  for (int run = 0; run < num_runs && memory.error() == cudaSuccess; ++run) {
    if (executable != nullptr) {
      memory.Note(cudaGraphLaunch(executable, stream));
    } else {
      LaunchRun(team, launch, stream, memory);
    }
    TakeResults(ends, team.num_devices, stream, memory, results);
    // The stream waits for nothing but its own work.
    memory.Note(cudaDeviceSynchronize());
  }
  if (executable != nullptr) cudaGraphExecDestroy(executable);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (stream != nullptr) cudaStreamDestroy(stream);
  if (memory.error() != cudaSuccess) {
    results.error = cudaGetErrorString(memory.error());
    results.of_calls.clear();
  }
  return results;
}

}  // namespace baton::kernels::cuda
