// out = x W^T for FP8 weights with 128 x 128 scales and FP8 activations with 1 x 128 scales; made
// for few tokens (one tile of up to 64 reads the weight once), right for any number.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime.h>

namespace baton::kernels::cuda {

// Shapes: weight [n, k] E4M3 row-major, behind a map by WeightForCopy; x [m, k] E4M3, rows x_stride
// bytes apart (a multiple of 16, as its address); out [m, n], rows out_stride elements apart.
// Scales: element (i, j) of the weight counts weight_scales[(row_offset + i) / 128 *
// weight_scale_stride + j / 128]; element (t, j) of x counts x_scales[j / 128 * x_scale_stride +
// t]. Needs k % 128 == 0, row_offset 0 or 64, k <= kMaxSplitBlocks * 128 * splits
// (block_gemm_plan.h). Numerics: tensor-core sums of 128 products, then scaled and summed in
// float32 in an order that depends on n and k alone; one rounding to bfloat16.
struct BlockGemmArgs {
  CUtensorMap weight;
  const float* weight_scales = nullptr;
  int64_t weight_scale_stride = 0;
  int row_offset = 0;
  const uint8_t* x = nullptr;
  int64_t x_stride = 0;
  const float* x_scales = nullptr;
  int64_t x_scale_stride = 0;
  int m = 0;
  int n = 0;
  int k = 0;
  void* out = nullptr;
  int64_t out_stride = 0;
  bool out_is_float = false;  // else bfloat16
  // Start before the predecessor in the stream is done: weights and their scales are read at once,
  // everything else after it.
  bool programmatic = false;
};

// m = 0 does nothing. Errors: cudaErrorInvalidValue for shapes outside the above,
// cudaErrorNoKernelImageForDevice where the device is not Hopper, the runtime's.
cudaError_t LaunchBlockGemm(const BlockGemmArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
