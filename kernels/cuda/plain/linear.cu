#include "common/log/check.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/plain/linear.h"
#include "kernels/cuda/plain/product_tile.cuh"

namespace baton::kernels::cuda {
namespace {

// What differs between the heads, by value: a graph keeps it.
struct HeadWeights {
  const void* values[kMostHeads];
  const float* scales[kMostHeads];
};

// Block (x, y, z): columns of tile x, rows of tile y, head z.
__global__ void __launch_bounds__(kProductThreads)
    LinearKernel(PlainRows x, int64_t rows, int64_t x_head_stride, WeightImage weight,
                 HeadWeights heads, void* out, DataType out_type, int64_t out_stride) {
  __shared__ ProductTile tile;
  const LaunchThread thread = ThisThread();
  const int64_t head = thread.block_z;
  weight.values = heads.values[head];
  weight.scales = heads.scales[head];
  const int64_t first_column = FirstTileColumn(thread);
  const int64_t first_row = FirstTileRow(thread);
  x.data = static_cast<const char*>(x.data) +
           head * x_head_stride * static_cast<int64_t>(SizeOf(x.type));
  float results[kRowsPerThread];
  MultiplyTile(
      weight, first_column, x,
      [&](int r) { return first_row + r < rows ? first_row + r : int64_t{-1}; }, tile, results);
  const int64_t column = first_column + TileColumn(thread.index);
  if (column >= weight.n) return;
  for (int i = 0; i < kRowsPerThread; ++i) {
    const int64_t row = first_row + TileRow(thread.index, i);
    if (row < rows) {
      StoreElement(results[i], out, out_type, row * out_stride + head * weight.n + column);
    }
  }
}

}  // namespace

void LaunchPlainLinear(const TensorView& x, int64_t x_head_stride,
                       std::span<const WeightImage> weights, const TensorView& out,
                       cudaStream_t stream) {
  const auto heads = static_cast<int64_t>(weights.size());
  BATON_CHECK(heads >= 1 && heads <= kMostHeads) << heads << " heads";
  const WeightImage& first = weights.front();
  BATON_CHECK(out.columns == heads * first.n && out.rows == x.rows);
  BATON_CHECK(x.columns >= (heads - 1) * x_head_stride + first.k);
  if (out.empty()) return;
  HeadWeights pointers = {};
  for (int64_t h = 0; h < heads; ++h) {
    const WeightImage& weight = weights[static_cast<size_t>(h)];
    BATON_CHECK(weight.n == first.n && weight.k == first.k && weight.type == first.type &&
                weight.block == first.block && weight.row_offset == first.row_offset &&
                weight.column_offset == first.column_offset &&
                weight.scale_pitch == first.scale_pitch);
    pointers.values[h] = weight.values;
    pointers.scales[h] = weight.scales;
  }
  LaunchPlanned("plain product", LinearKernel, PlainLinearLaunch(x.rows, first.n, heads), stream,
                PlainRows{x.data, x.type, x.row_stride}, x.rows, x_head_stride, first, pointers,
                out.data, out.type, out.row_stride);
}

}  // namespace baton::kernels::cuda
