// Launches with clusters, dynamic shared memory and programmatic dependencies.
#pragma once

#include <cuda_runtime.h>

namespace baton::kernels::cuda {

struct KernelShape {
  dim3 grid;
  dim3 block;
  int cluster = 1;  // blocks along x
  int shared_bytes = 0;
  // The kernel may start before its predecessor in the stream is done; it waits itself where it
  // must (WaitForPredecessor).
  bool programmatic = false;
};

// Launches `kernel(args)`. Errors: cudaErrorNoKernelImageForDevice on a device that is not of
// compute capability 9.0 (the kernel's instructions are Hopper's own), and the runtime's.
template <class Args>
cudaError_t LaunchHopper(void (*kernel)(Args), const KernelShape& shape, cudaStream_t stream,
                         const Args& args) {
  int device = 0;
  int major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error != cudaSuccess) return error;
  if (major != 9) return cudaErrorNoKernelImageForDevice;
  error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = shape.programmatic ? 1 : 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace baton::kernels::cuda

// Bodies of kernels that need Hopper's own instructions stand between these; compiled for another
// target, the kernel traps (LaunchHopper refuses such devices before).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BATON_HOPPER_BODY(body) body
#else
#define BATON_HOPPER_BODY(body) __trap();
#endif
