// The backend for NVIDIA GPUs.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"

namespace baton::kernels {

struct CudaOptions {
  // Every operation on the kernels that take any shape, FP8 weights widened exactly. Otherwise
  // Hopper's own run where shapes allow: products with FP8 weights quantise their activations
  // (kernels/api/linear.h).
  bool plain_kernels = false;
};

// FailedPrecondition if this program was built without CUDA, or if the machine shows no device. Its
// teams use the devices 0, 1, ... that CUDA_VISIBLE_DEVICES leaves.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options = {});

}  // namespace baton::kernels
