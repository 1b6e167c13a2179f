// Dense products of many rows through cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>
#include <memory>
#include <utility>

#include "common/tensor/tensor_view.h"
#include "kernels/cuda/cublas_products.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/plan/library_product.h"

namespace baton::kernels::cuda {

// Threads: the device's.
class CublasLinear final {
 public:
  explicit CublasLinear(std::unique_ptr<CublasProducts> products)
      : products_(std::move(products)), algorithms_(products_.get()) {}

  // Multiplies the first rows of x, as many as the library takes, and returns their number; 0 if
  // this product is not for it (plan/library_product.h). The first of a shape runs every algorithm
  // that is chosen with it once. FP8 weights: x is quantised first, as
  // LaunchFloat8Linear does it. Arguments as LinearArgs has them.
  int64_t Run(const TensorView& x, const CudaWeight& weight, const TensorView& out,
              DeviceScratch& scratch, cudaStream_t stream);

 private:
  // False if there is no algorithm that takes the product.
  bool Multiply(const LibraryProduct& product, const ProductOperands& operands, void* workspace,
                cudaStream_t stream);

  const std::unique_ptr<CublasProducts> products_;
  ProductAlgorithms algorithms_;
};

}  // namespace baton::kernels::cuda
