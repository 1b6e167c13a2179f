#include <cuda_runtime.h>

#include "absl/strings/str_cat.h"

#include "kernels/cuda/device_probe.h"
#include "kernels/cuda/launches/cuda_stream.h"

namespace baton::kernels::cuda {
namespace {

__global__ void ProbeKernel() {}

}  // namespace

absl::StatusOr<int> NumDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    return absl::FailedPreconditionError(
        absl::StrCat("no CUDA device: ", cudaGetErrorName(error), ", ", cudaGetErrorString(error)));
  }
  if (count == 0) return absl::FailedPreconditionError("no CUDA device: the driver shows none");
  return count;
}

absl::StatusOr<DeviceTraits> ProbeDevice(int device) {
  cudaDeviceProp properties = {};
  cudaError_t error = cudaSetDevice(device);
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return ToStatus(error, absl::StrCat("CUDA device ", device));
  cudaFuncAttributes attributes = {};
  error = cudaFuncGetAttributes(&attributes, ProbeKernel);
  if (error == cudaSuccess) {
    return DeviceTraits{properties.multiProcessorCount,
                        properties.major == 9 && properties.minor == 0};
  }
  cudaGetLastError();
  return absl::FailedPreconditionError(absl::StrCat(
      "CUDA device ", device, " (", properties.name, ") has compute capability ", properties.major,
      ".", properties.minor, "; this program has no kernels for it: ", cudaGetErrorName(error)));
}

}  // namespace baton::kernels::cuda
