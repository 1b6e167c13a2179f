// Tensor maps: what the copy engine has to know about a matrix in device memory.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime_api.h>

namespace baton::kernels::cuda {

// A row-major matrix [rows, columns] whose boxes of 128 bytes x box_rows land in shared memory with
// the 128-byte swizzle (SwizzledOffset, plan/tile_layout.h). What lies outside reads as zero.
struct MatrixForCopy {
  const void* data = nullptr;  // device, a multiple of 16
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_bytes = 0;  // distance of rows, a multiple of 16
  int element_bytes = 1;  // 1 (FP8) or 2 (bfloat16)
  int box_rows = 0;       // 1..256
};

// Needs a driver, no context. Errors: cudaErrorInvalidValue (the driver refuses the shape), the
// runtime's where there is no driver.
cudaError_t EncodeTensorMap(const MatrixForCopy& matrix, CUtensorMap* map);

// The maps that the kernels expect.
// A weight [n, k] FP8 for LaunchBlockGemm and for the table of experts.
MatrixForCopy WeightForCopy(const void* values, int64_t n, int64_t k);
// A weight [n, k] bfloat16 for LaunchBf16Gemm, or all heads' [heads * n, k].
MatrixForCopy Bf16WeightForCopy(const void* values, int64_t n, int64_t k);
// A layer's cache [tokens, 576] bfloat16 for LaunchMlaAttention.
MatrixForCopy KvForCopy(const void* pages, int64_t tokens, int64_t row_bytes);

}  // namespace baton::kernels::cuda
