// A tile of x W^T on any device, for any shape and element type: the kernels that are right before
// others are fast.
//
// A block of kProductThreads threads makes kTileRows x kTileColumns results (plan/plain_plan.h).
// Both operands pass through shared memory in pieces of kTileDepth along k, widened to float32.
// Each result is summed along k in order, one scale block at a time; no result knows of another.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "common/tensor/data_type.h"
#include "kernels/cuda/launches/weight_image.h"
#include "kernels/cuda/plan/plain_plan.h"

namespace baton::kernels::cuda {

struct ProductTile {
  float weight[kTileColumns][kTileDepth + 1];
  float x[kTileRows][kTileDepth + 1];
};

// Elements of any type in device memory.
struct PlainRows {
  const void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t stride = 0;  // elements
};

__device__ inline float LoadElement(const void* data, DataType type, int64_t index) {
  switch (type) {
    case DataType::kFloat32:
      return static_cast<const float*>(data)[index];
    case DataType::kBFloat16:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
    case DataType::kFloat8E4M3: {
      const __nv_fp8_storage_t code = static_cast<const __nv_fp8_storage_t*>(data)[index];
      return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
    }
  }
  return 0.0f;
}

__device__ inline void StoreElement(float value, void* data, DataType type, int64_t index) {
  if (type == DataType::kFloat32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
  }
}

// results[i] = row x_row(TileRow(thread, i)) of x times row first_column + TileColumn(thread) of
// the weight. `x_row` says which row of `x` stands in row r of the tile, or -1 for
// none; results of rows and columns that are not there are 0. All threads of the block call it.
template <typename XRow>
__device__ inline void MultiplyTile(const WeightImage& weight, int64_t first_column,
                                    const PlainRows& x, const XRow& x_row, ProductTile& tile,
                                    float (&results)[kRowsPerThread]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int column = TileColumn(thread);
  const bool column_exists = first_column + column < weight.n;
  const float* scales = nullptr;
  if (weight.scales != nullptr && column_exists) {
    scales = weight.scales +
             (weight.row_offset + first_column + column) / weight.block * weight.scale_pitch;
  }
  for (float& result : results) result = 0.0f;
  for (int64_t begin = 0, end = 0; begin < weight.k; begin = end) {
    const int64_t scale_block = (weight.column_offset + begin) / weight.block;
    end = ScaleBlockEnd(begin, weight.k, weight.block, weight.column_offset);
    float sums[kRowsPerThread] = {};
    for (const int64_t piece : DepthPieces(begin, end)) {
      __syncthreads();
      for (const int i : TileCopies(thread, kTileColumns)) {
        const int64_t row = first_column + i / kTileDepth;
        const int64_t k = piece + i % kTileDepth;
        tile.weight[i / kTileDepth][i % kTileDepth] =
            row < weight.n && k < end
                ? LoadElement(weight.values, weight.type, row * weight.value_pitch + k)
                : 0.0f;
      }
      for (const int i : TileCopies(thread, kTileRows)) {
        const int64_t row = x_row(i / kTileDepth);
        const int64_t k = piece + i % kTileDepth;
        tile.x[i / kTileDepth][i % kTileDepth] =
            row >= 0 && k < end ? LoadElement(x.data, x.type, row * x.stride + k) : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int k = 0; k < kTileDepth; ++k) {
#pragma unroll
        for (int i = 0; i < kRowsPerThread; ++i) {
          sums[i] = fmaf(tile.x[TileRow(thread, i)][k], tile.weight[column][k], sums[i]);
        }
      }
    }
    const float scale = scales != nullptr ? scales[scale_block] : 1.0f;
#pragma unroll
    for (int i = 0; i < kRowsPerThread; ++i) results[i] += sums[i] * scale;
  }
}

}  // namespace baton::kernels::cuda
