// Dense products with weights that a backend has packed once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

// A weight as the checkpoint stores it, or a rectangular shard of one.
struct WeightMatrix {
  // [n, k] row-major, in float32, bfloat16 or FP8 E4M3.
  TensorView values;
  // FP8 only: float32 scales, one per block_size x block_size block; element (i, j) of `values`
  // stands for values(i, j) * scales((row_offset + i) / block_size, (column_offset + j) /
  // block_size).
  TensorView scales;
  int64_t block_size = 128;
  // Place of values(0, 0) inside the first scale block; a shard edge need not fall on a block edge.
  // [0, block_size).
  int64_t row_offset = 0;
  int64_t column_offset = 0;
};

// Consecutive rows of a weight without scales, float32 or bfloat16. It begins at a multiple of
// Ops::band_rows(), and ends at one or with the weight.
struct WeightBand {
  TensorView values;  // rows [first_row, first_row + values.rows)
  int64_t first_row = 0;
  int64_t weight_rows = 0;  // of the whole weight
};

// A weight in the layout that one backend reads. Immutable; shared by any number of threads.
class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  // Memory it holds.
  virtual size_t bytes() const = 0;

 protected:
  PackedWeight(int64_t n, int64_t k) : n_(n), k_(k) {}

 private:
  int64_t n_;
  int64_t k_;
};

// out = x W^T.
// Shapes: x [m, k] in the compute type, W [n, k], out [m, n] in the compute type or float32; rows
// may be strided; m may be 0. Numerics: FP8 values are widened exactly (to bfloat16 or float32),
// products are summed in float32 within a scale block along k and the block's sum is multiplied by
// its scale in float32; blocks are added in order of k. The order of summation depends on the
// weight's n, k and offsets alone: a row's result has the same bits for every m, in every row, for
// every number of threads. `out` must not overlap x. Tolerance against kernels/reference: relative
// L2 error 1e-5 (float32), 3e-3 (bfloat16 out).
struct LinearArgs {
  TensorView x;
  const PackedWeight* weight = nullptr;
  TensorView out;
};

// One product per head: out[:, h*n : (h+1)*n] = x[:, h*s : h*s + k] W_h^T, s = x_head_stride.
// Shapes: x [m, >= (heads - 1) * s + k], weights[h] [n, k] each, out [m, heads * n]. As LinearArgs
// otherwise.
struct HeadwiseLinearArgs {
  TensorView x;
  int64_t x_head_stride = 0;  // columns between heads, >= k; 0: k
  std::span<const PackedWeight* const> weights;
  TensorView out;
};

}  // namespace baton::kernels
