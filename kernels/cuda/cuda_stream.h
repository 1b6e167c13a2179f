// The CUDA runtime's errors, and the stream that all operations of one device are queued on.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton::kernels::cuda {

// What a call of the runtime says: ResourceExhausted for memory, FailedPrecondition for an absent
// device or driver, Internal for the rest; the message names `what` and the runtime's own words.
absl::Status ToStatus(cudaError_t error, absl::string_view what);

// Ends the process if a launch or a copy failed: shapes were checked before, and a device whose
// kernels fail holds no state that could be saved.
void CheckCuda(cudaError_t error, absl::string_view what);

}  // namespace baton::kernels::cuda
