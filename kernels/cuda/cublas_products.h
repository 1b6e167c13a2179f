// Products through cuBLASLt, told in its descriptors.
#pragma once

#include <cuda_runtime_api.h>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"

#include "kernels/cuda/cublas_library.h"
#include "kernels/cuda/plan/library_product.h"

namespace baton::kernels::cuda {

// Where a product's matrices lie; all addresses are multiples of 16 bytes.
struct ProductOperands {
  const void* x = nullptr;
  const float* x_scales = nullptr;  // FP8 alone, as those of the weight
  const void* weight = nullptr;
  const float* weight_scales = nullptr;
  void* out = nullptr;
};

// Threads: the device's.
class CublasProducts final : public AlgorithmSource {
 public:
  // For the current device. FailedPrecondition if the library will not work on it.
  static absl::StatusOr<std::unique_ptr<CublasProducts>> Create(const CublasLibrary& library);
  ~CublasProducts() override;
  CublasProducts(const CublasProducts&) = delete;
  CublasProducts& operator=(const CublasProducts&) = delete;

  // Of algorithms that do not split k: what is split is added up in an order of the library's, some
  // of it through the output's own type.
  std::optional<ProductAlgorithm> Choose(const LibraryProduct& product) override;

  // Queues the product; `workspace`: algorithm.workspace_bytes, at a multiple of 256. May be
  // captured. False, and nothing is queued, if the algorithm does not take this very product. Ends
  // the process if the device fails.
  bool Multiply(const LibraryProduct& product, const ProductAlgorithm& algorithm,
                const ProductOperands& operands, void* workspace, cudaStream_t stream);

 private:
  CublasProducts(const CublasLibrary& library, cublasLtHandle_t handle)
      : library_(library), handle_(handle) {}

  const CublasLibrary library_;
  const cublasLtHandle_t handle_;
};

}  // namespace baton::kernels::cuda
