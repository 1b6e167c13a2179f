// Launches of kernels whose shapes plan/ decides.
#pragma once

#include <cuda_runtime.h>

#include "absl/strings/string_view.h"

#include "common/log/check.h"
#include "kernels/cuda/device/kernel_launch.cuh"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/plan/launch_shape.h"

namespace baton::kernels::cuda {

// Queues `kernel(args...)` in the planned shape; nothing if that is empty. Ends the process, naming
// the operation, if no device could run the shape or the launch fails.
template <typename... Params, typename... Args>
void LaunchPlanned(absl::string_view operation, void (*kernel)(Params...), const LaunchShape& shape,
                   cudaStream_t stream, const Args&... args) {
  if (shape.empty()) return;
  BATON_CHECK_OK(CheckLaunch(operation, shape, kAnyDevice));
  const KernelShape planned = PlannedShape(shape, /*programmatic=*/false);
  kernel<<<planned.grid, planned.block, static_cast<size_t>(planned.shared_bytes), stream>>>(
      args...);
  CheckCuda(cudaGetLastError(), operation);
}

}  // namespace baton::kernels::cuda
