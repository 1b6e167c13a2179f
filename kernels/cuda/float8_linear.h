// Dense products with FP8 weights and activations quantised on the way: Hopper's W8A8.
#pragma once

#include <cuda_runtime_api.h>

#include "common/tensor/tensor_view.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/launches/device_memory.h"

namespace baton::kernels::cuda {

// Whether the product of these can run so: bfloat16 x, whole scale blocks of 128 x 128, k a
// multiple of 128, rows where the kernels can read them.
bool TakesFloat8Linear(const TensorView& x, const CudaWeight& weight, const TensorView& out);

// Quantises x (quantise.h) and multiplies (block_gemm.h). A row's result depends on the row alone.
void LaunchFloat8Linear(const TensorView& x, const CudaWeight& weight, const TensorView& out,
                        DeviceScratch& scratch, cudaStream_t stream);

}  // namespace baton::kernels::cuda
