// Elements of the compute types in device code, bit for bit as common/tensor has them.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>

namespace baton::kernels::cuda {

__device__ inline float Widen(float value) { return value; }
__device__ inline float Widen(__nv_bfloat16 value) { return __bfloat162float(value); }

// One rounding, to nearest even.
template <typename T>
__device__ inline T Narrow(float value);
template <>
__device__ inline float Narrow<float>(float value) {
  return value;
}
template <>
__device__ inline __nv_bfloat16 Narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

}  // namespace baton::kernels::cuda
