#include <cuda_runtime.h>

#include "kernels/cuda/peer_exchange.cuh"
#include "tests/conformance/kernels/virtual_devices.h"

namespace baton::kernels::cuda {
namespace {

struct VirtualDevice {
  ExchangeView view;
  LocalParts<float> local;
  PartRows<float> out;
};

// blockIdx.y: the device. A cooperative launch, so that all blocks run at the same time.
__global__ void __launch_bounds__(kExchangeThreads)
    VirtualSumKernel(const VirtualDevice* devices, int64_t count, bool two_shots) {
  const VirtualDevice& device = devices[blockIdx.y];
  SumPartsBody(DeviceLane(), device.view, device.local, device.out, 0, count,
               static_cast<int>(blockIdx.x), two_shots);
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

std::vector<VirtualDevice> MakeDevices(const std::vector<int>& ranks_of_devices,
                                       const std::vector<std::vector<float>>& parts,
                                       Memory& memory) {
  const auto count = static_cast<int64_t>(parts[0].size());
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
  std::vector<VirtualDevice> devices;
  for (int d = 0; d < view.num_devices; ++d) {
    view.me = d;
    view.tickets = view.flags[d] + kExchangeBlocks * kMostDevices;
    VirtualDevice device = {view, {}, {memory.Make<float>(parts[0].size()), count, count}};
    for (int i = 0; i < view.local_ranks(d); ++i) {
      const std::vector<float>& part = parts[view.first_rank[d] + i];
      device.local.rank[i] = {memory.Make(part.size(), part.data()), count, count};
    }
    devices.push_back(device);
  }
  return devices;
}

cudaError_t Launch(const VirtualDevice* devices, int num_devices, int64_t count, bool two_shots,
                   cudaStream_t stream) {
  void* args[] = {&devices, &count, &two_shots};
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(&VirtualSumKernel),
                                     dim3(kExchangeBlocks, static_cast<unsigned>(num_devices)),
                                     dim3(kExchangeThreads), args, 0, stream);
}

}  // namespace

VirtualSums SumOnVirtualDevices(const std::vector<int>& ranks_of_devices,
                                const std::vector<std::vector<float>>& parts, bool two_shots,
                                bool captured, int num_calls) {
  Memory memory;
  const std::vector<VirtualDevice> devices = MakeDevices(ranks_of_devices, parts, memory);
  const VirtualDevice* on_device = memory.Make(devices.size(), devices.data());
  const int num_devices = static_cast<int>(devices.size());
  const auto count = static_cast<int64_t>(parts[0].size());
  cudaStream_t stream = nullptr;
  memory.Note(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  if (captured) {
    memory.Note(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    memory.Note(Launch(on_device, num_devices, count, two_shots, stream));
    memory.Note(cudaStreamEndCapture(stream, &graph));
    memory.Note(cudaGraphInstantiate(&executable, graph, 0));
  }
  for (int call = 0; call < num_calls && memory.error() == cudaSuccess; ++call) {
    memory.Note(captured && call >= 2 ? cudaGraphLaunch(executable, stream)
                                      : Launch(on_device, num_devices, count, two_shots, stream));
  }
  memory.Note(cudaStreamSynchronize(stream));
  VirtualSums sums;
  for (const VirtualDevice& device : devices) {
    std::vector<float> result(parts[0].size());
    memory.Note(cudaMemcpy(result.data(), device.out.data, result.size() * sizeof(float),
                           cudaMemcpyDeviceToHost));
    sums.of_devices.push_back(std::move(result));
  }
  if (executable != nullptr) cudaGraphExecDestroy(executable);
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (stream != nullptr) cudaStreamDestroy(stream);
  if (memory.error() != cudaSuccess) {
    sums.error = cudaGetErrorString(memory.error());
    sums.of_devices.clear();
  }
  return sums;
}

}  // namespace baton::kernels::cuda
