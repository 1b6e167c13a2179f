// out = x W^T in bfloat16, for one weight or one per head, in an order of summation that the
// weight's shape alone decides.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime.h>

namespace baton::kernels::cuda {

// For head h in 0..heads-1: out[:, h n .. h n + n) = x[:, h s .. h s + k) W_h^T, s = x_head_stride.
// Shapes: weights [n, k] bfloat16 row-major per head, behind maps by Bf16WeightForCopy: one of all
// heads, one below the other, or a table of them in device memory; x [m, ...] bfloat16, rows
// x_stride elements apart; out [m, heads * n], rows out_stride elements apart, bfloat16 or float32.
// k, x_stride, x_head_stride are multiples of 8, x's address of 16 bytes; n with several heads is a
// multiple of 4. Numerics: sums in the tensor cores' float32 in order of k, splits of k in order;
// splits depend on n and k alone.
struct Bf16GemmArgs {
  CUtensorMap weight = {};
  const CUtensorMap* head_maps = nullptr;  // [heads]; null: `weight`
  const void* x = nullptr;
  int64_t x_stride = 0;
  int64_t x_head_stride = 0;
  int m = 0;
  int n = 0;
  int k = 0;
  int heads = 1;
  void* out = nullptr;
  int64_t out_stride = 0;
  bool out_is_float = false;
  bool programmatic = false;  // as BlockGemmArgs
};

// m = 0 does nothing. Errors as LaunchBlockGemm.
cudaError_t LaunchBf16Gemm(const Bf16GemmArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
