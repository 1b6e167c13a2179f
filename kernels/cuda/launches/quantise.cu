#include <cuda_bf16.h>

#include "common/log/check.h"
#include "kernels/cuda/device/convert.cuh"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/launches/quantise.h"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

// One warp per row and group of columns (plan/row_plan.h), four neighbouring columns per lane.
static_assert(kLaneColumns == 4);
__global__ void __launch_bounds__(kQuantiseWarps* kWarpThreads)
    QuantiseKernel(const __nv_bfloat16* x, int64_t x_stride, int64_t rows, int64_t columns,
                   uint8_t* codes, float* scales) {
  const LaunchThread thread = ThisThread();
  const GroupOfColumns at = GroupOf(thread);
  if (!at.IsIn(columns)) return;
  const uint2 packed = *reinterpret_cast<const uint2*>(x + at.row * x_stride + at.first_column);
  const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.x));
  const float2 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&packed.y));
  const float largest =
      WarpMax(fmaxf(fmaxf(fabsf(low.x), fabsf(low.y)), fmaxf(fabsf(high.x), fabsf(high.y))));
  const float scale = ActivationScale(largest);
  *reinterpret_cast<uint32_t*>(codes + at.row * columns + at.first_column) =
      PackE4m3(low.x / scale, low.y / scale, high.x / scale, high.y / scale);
  if (thread.lane() == 0) scales[at.group * rows + at.row] = scale;
}

}  // namespace

void LaunchQuantise(const TensorView& x, uint8_t* codes, float* scales, cudaStream_t stream) {
  BATON_CHECK(x.type == DataType::kBFloat16 && x.columns % kGroupColumns == 0 &&
              x.row_stride % 4 == 0 && reinterpret_cast<uintptr_t>(x.data) % 8 == 0);
  LaunchPlanned("quantisation of activations", QuantiseKernel, QuantiseLaunch(x.rows, x.columns),
                stream, static_cast<const __nv_bfloat16*>(x.data), x.row_stride, x.rows, x.columns,
                codes, scales);
}

}  // namespace baton::kernels::cuda
