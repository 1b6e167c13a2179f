#include "common/log/check.h"
#include "kernels/cuda/launches/elements.cuh"
#include "kernels/cuda/launches/norm.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

// One block per row (plan/row_plan.h). A thread adds its columns in order; threads' sums are added
// within a warp by halves, then over the warps, again by halves: one fixed tree, whatever else the
// step holds.

__device__ float SumOfWarp(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// The sum over all threads of the block, in all of them.
__device__ float SumOfBlock(float value) {
  __shared__ float warps[kNormWarps];
  value = SumOfWarp(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x % 32 < kNormWarps ? warps[threadIdx.x % 32] : 0.0f;
  return SumOfWarp(value);
}

// Rows of elements T.
template <typename T>
struct NormRows {
  T* data;
  int64_t stride;
  __device__ T* row(int64_t index) const { return data + index * stride; }
};

template <typename T>
NormRows<T> RowsOf(const TensorView& view) {
  return {static_cast<T*>(view.data), view.row_stride};
}

// `x` may be `out`: a thread writes only columns that it alone reads, after its last read.
template <typename T, bool kAdds>
__global__ void __launch_bounds__(kNormThreads)
    NormKernel(NormRows<T> x, NormRows<const float> delta, const float* __restrict__ weight,
               NormRows<T> out, int64_t columns, float epsilon) {
  const LaunchThread thread = ThisThread();
  T* in_row = x.row(thread.block_x);
  T* out_row = out.row(thread.block_x);
  float sum = 0.0f;
  for (const int64_t column : NormColumns(thread, columns)) {
    float value = Widen(in_row[column]);
    if constexpr (kAdds) {
      const T rounded = Narrow<T>(value + delta.row(thread.block_x)[column]);
      in_row[column] = rounded;
      value = Widen(rounded);
    }
    sum = fmaf(value, value, sum);
  }
  const float mean = SumOfBlock(sum) / static_cast<float>(columns);
  const float factor = 1.0f / sqrtf(mean + epsilon);
  for (const int64_t column : NormColumns(thread, columns)) {
    out_row[column] = Narrow<T>(Widen(in_row[column]) * factor * weight[column]);
  }
}

template <typename T>
__global__ void __launch_bounds__(kElementThreads)
    AddKernel(NormRows<const T> residual, NormRows<const float> delta, NormRows<T> out,
              int64_t columns) {
  const auto [row, column] = ElementOf(ThisThread());
  if (column >= columns) return;
  out.row(row)[column] = Narrow<T>(Widen(residual.row(row)[column]) + delta.row(row)[column]);
}

template <typename T>
void AddRows(const AddArgs& args, cudaStream_t stream) {
  const TensorView& x = args.residual;
  LaunchPlanned("Add", AddKernel<T>, ElementsLaunch(x.rows, x.columns), stream, RowsOf<const T>(x),
                RowsOf<const float>(args.delta), RowsOf<T>(args.out), x.columns);
}

template <typename T, bool kAdds>
void Normalise(const TensorView& x, const TensorView& delta, const TensorView& weight,
               float epsilon, const TensorView& out, cudaStream_t stream) {
  BATON_CHECK(x.rows == out.rows && x.columns == out.columns && weight.columns == x.columns);
  LaunchPlanned("RmsNorm", NormKernel<T, kAdds>, NormLaunch(x.rows, x.columns), stream,
                RowsOf<T>(x), RowsOf<const float>(delta), static_cast<const float*>(weight.data),
                RowsOf<T>(out), x.columns, epsilon);
}

}  // namespace

void LaunchRmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  if (args.x.type == DataType::kBFloat16) {
    Normalise<__nv_bfloat16, false>(args.x, {}, args.weight, args.epsilon, args.out, stream);
  } else {
    Normalise<float, false>(args.x, {}, args.weight, args.epsilon, args.out, stream);
  }
}

void LaunchAddRmsNorm(const AddRmsNormArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.delta.rows == args.residual.rows && args.delta.columns == args.residual.columns);
  const TensorView& x = args.residual;
  if (x.type == DataType::kBFloat16) {
    Normalise<__nv_bfloat16, true>(x, args.delta, args.weight, args.epsilon, args.out, stream);
  } else {
    Normalise<float, true>(x, args.delta, args.weight, args.epsilon, args.out, stream);
  }
}

void LaunchAdd(const AddArgs& args, cudaStream_t stream) {
  const TensorView& x = args.residual;
  BATON_CHECK(x.rows == args.out.rows && x.columns == args.out.columns);
  BATON_CHECK(x.rows == args.delta.rows && x.columns == args.delta.columns);
  if (x.type == DataType::kBFloat16) {
    AddRows<__nv_bfloat16>(args, stream);
  } else {
    AddRows<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
