// The backend for NVIDIA GPUs.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"

namespace baton::kernels {

// FailedPrecondition if this program was built without CUDA, or if the machine shows no device. Its
// teams use the devices 0, 1, ... that CUDA_VISIBLE_DEVICES leaves.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend();

}  // namespace baton::kernels
