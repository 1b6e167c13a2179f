#include <cuda_bf16.h>

#include "common/log/check.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device/convert.cuh"
#include "kernels/cuda/quantise.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kQuantiseWarps = 8;
constexpr int kGroupColumns = 128;
constexpr float kSmallestMaximum = 1e-4f;

// One warp per row and 128 columns; lane l has columns 4 l to 4 l + 3.
__global__ void __launch_bounds__(kQuantiseWarps * 32)
    QuantiseKernel(const __nv_bfloat16* x, int64_t x_stride, int64_t rows, int64_t columns,
                   uint8_t* codes, float* scales) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = blockIdx.x;
  const int64_t group = int64_t{blockIdx.y} * kQuantiseWarps + threadIdx.x / 32;
  if (group * kGroupColumns >= columns) return;
  const int64_t column = group * kGroupColumns + lane * 4;
  const uint2 packed = *reinterpret_cast<const uint2*>(x + row * x_stride + column);
  const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.x));
  const float2 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.y));
  const float largest =
      WarpMax(fmaxf(fmaxf(fabsf(low.x), fabsf(low.y)), fmaxf(fabsf(high.x), fabsf(high.y))));
  const float scale = fmaxf(largest, kSmallestMaximum) / kLargestE4m3;
  *reinterpret_cast<uint32_t*>(codes + row * columns + column) =
      PackE4m3(low.x / scale, low.y / scale, high.x / scale, high.y / scale);
  if (lane == 0) scales[group * rows + row] = scale;
}

}  // namespace

void LaunchQuantise(const TensorView& x, uint8_t* codes, float* scales, cudaStream_t stream) {
  BATON_CHECK(x.type == DataType::kBFloat16 && x.columns % kGroupColumns == 0 &&
              x.row_stride % 4 == 0 && reinterpret_cast<uintptr_t>(x.data) % 8 == 0);
  if (x.empty()) return;
  const int64_t groups = x.columns / kGroupColumns;
  const dim3 grid(static_cast<unsigned>(x.rows),
                  static_cast<unsigned>((groups + kQuantiseWarps - 1) / kQuantiseWarps));
  QuantiseKernel<<<grid, kQuantiseWarps * 32, 0, stream>>>(
      static_cast<const __nv_bfloat16*>(x.data), x.row_stride, x.rows, x.columns, codes, scales);
  CheckCuda(cudaGetLastError(), "quantisation of activations");
}

}  // namespace baton::kernels::cuda
