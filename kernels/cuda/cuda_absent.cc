// What stands in for the backend in programs that are built without CUDA.
#include "kernels/cuda/cuda_backend.h"

namespace baton::kernels {

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions&) {
  return absl::FailedPreconditionError(
      "this program was built without CUDA; the preset `cuda` builds one with it");
}

}  // namespace baton::kernels
