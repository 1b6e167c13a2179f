// Conversions between float32, bfloat16 and FP8 E4M3; all round to nearest even, FP8 saturates.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp8.h>

namespace baton::kernels::cuda {

inline constexpr float kLargestE4m3 = 448.0f;

// Two values in one word, `low` in the lower half.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ __forceinline__ float RoundToBf16(float x) {
  return __bfloat162float(__float2bfloat16_rn(x));
}

// Four values in one word, `a` in the lowest byte.
__device__ __forceinline__ uint32_t PackE4m3(float a, float b, float c, float d) {
  // The toolkit's conversion is one instruction from 8.9 on, and the same bits without it.
  const __nv_fp8x2_storage_t low =
      __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
  const __nv_fp8x2_storage_t high =
      __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, __NV_E4M3);
  return static_cast<uint32_t>(low) | (static_cast<uint32_t>(high) << 16);
}

// The scale of 128 activations whose largest magnitude is `largest`: value = FP8 x scale. The bound
// keeps a block of zeros finite.
__device__ __forceinline__ float ActivationScale(float largest) {
  return __fdiv_rn(fmaxf(largest, 1e-4f), kLargestE4m3);
}

__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  }
  return x;
}

// 2^x, 0 for minus infinity.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Transposes and stores four 8 x 8 tiles of 16-bit elements: a thread's register i holds elements
// (lane / 4, 2 (lane % 4)) and the next of tile i; column c of tile i is written as the 16 bytes at
// the address that lane 8 i + c gives.
__device__ __forceinline__ void StoreTransposed(uint32_t address, uint32_t a, uint32_t b,
                                                uint32_t c, uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

}  // namespace baton::kernels::cuda
