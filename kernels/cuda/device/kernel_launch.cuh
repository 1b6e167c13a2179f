// Launches with clusters, dynamic shared memory and programmatic dependencies.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

struct KernelShape {
  dim3 grid;
  dim3 block;
  int cluster = 1;       // blocks along x
  int shared_bytes = 0;  // dynamic
  // The most of it that any launch of the kernel has; 0: every launch has as much as this one. The
  // kernel's limit is set to this alone: lower, it would break captured launches of larger ones.
  int most_shared_bytes = 0;
  // The kernel may start before its predecessor in the stream is done; it waits itself where it
  // must (WaitForPredecessor).
  bool programmatic = false;
};

__device__ __forceinline__ LaunchThread ThisThread() {
  return {blockIdx.x, blockIdx.y, blockIdx.z, static_cast<int>(threadIdx.x)};
}

// A shape that plan/ decided.
inline KernelShape PlannedShape(const LaunchShape& planned, bool programmatic) {
  KernelShape shape;
  shape.grid = dim3(static_cast<unsigned>(planned.grid_x), static_cast<unsigned>(planned.grid_y),
                    static_cast<unsigned>(planned.grid_z));
  shape.block = dim3(static_cast<unsigned>(planned.block));
  shape.cluster = static_cast<int>(planned.cluster);
  shape.shared_bytes = static_cast<int>(planned.shared_bytes);
  shape.programmatic = programmatic;
  return shape;
}

// Compute capability of the current device, times ten.
inline cudaError_t DeviceCapability(int* capability) {
  int device = 0;
  int major = 0;
  int minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  *capability = 10 * major + minor;
  return error;
}

// Launches `kernel(args)`. Clusters and programmatic dependencies are for 9.0 and later; before,
// the latter mean nothing.
template <class Args>
cudaError_t LaunchAny(void (*kernel)(Args), const KernelShape& shape, cudaStream_t stream,
                      const Args& args) {
  int capability = 0;
  cudaError_t error = DeviceCapability(&capability);
  if (error != cudaSuccess) return error;
  const int most = shape.most_shared_bytes == 0 ? shape.shared_bytes : shape.most_shared_bytes;
  if (most < shape.shared_bytes) return cudaErrorInvalidValue;
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = {};
  if (shape.cluster > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  }
  if (shape.programmatic && capability >= 90) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  return cudaLaunchKernelEx(&config, kernel, args);
}

// The same for kernels whose instructions are Hopper's own: cudaErrorNoKernelImageForDevice on a
// device that is not of compute capability 9.0.
template <class Args>
cudaError_t LaunchHopper(void (*kernel)(Args), const KernelShape& shape, cudaStream_t stream,
                         const Args& args) {
  int capability = 0;
  const cudaError_t error = DeviceCapability(&capability);
  if (error != cudaSuccess) return error;
  return capability == 90 ? LaunchAny(kernel, shape, stream, args)
                          : cudaErrorNoKernelImageForDevice;
}

}  // namespace baton::kernels::cuda

// Bodies of kernels that need Hopper's own instructions stand between these; compiled for another
// target, the kernel traps (LaunchHopper refuses such devices before).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BATON_HOPPER_BODY(body) body
#else
#define BATON_HOPPER_BODY(body) __trap();
#endif
