// How a weight lies in device memory.
//
//   values  [n] rows of `k` elements in `type`, each row `value_pitch` elements long (16-byte rows,
//   as
//           the copy engine wants them), the rest of a row zero
//   scales  FP8 only, from `scale_offset` bytes on: [row_blocks] rows of float32, `scale_pitch`
//   long
//           (a multiple of four, as cuBLASLt wants them), the rest zero
//
// Element (i, j) stands for values(i, j) * scales((row_offset + i) / block, (column_offset + j) /
// block), as in the checkpoint: nothing is rescaled, so every shard edge is exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/tensor/data_type.h"
#include "kernels/api/linear.h"

namespace baton::kernels::cuda {

struct WeightLayout {
  DataType type = DataType::kBFloat16;
  int64_t n = 0;
  int64_t k = 0;
  int64_t value_pitch = 0;  // elements
  int64_t block = 128;      // of scales; of unscaled weights, what is summed at a time along k
  int64_t row_offset = 0;
  int64_t column_offset = 0;
  int64_t row_blocks = 0;
  int64_t column_blocks = 0;
  int64_t scale_pitch = 0;
  size_t scale_offset = 0;  // bytes
  size_t bytes = 0;         // of all

  bool scaled() const { return type == DataType::kFloat8E4M3; }
  // Whether scale blocks are 128 x 128 and begin at the weight's first row and column: what the
  // products with quantised activations need. The last blocks may be partial.
  bool has_whole_blocks() const {
    return scaled() && block == 128 && row_offset == 0 && column_offset == 0;
  }
};

// Where the parts of `weight` lie for products in `compute_type`: FP8 and bfloat16 stay what they
// are, float32 becomes bfloat16 in bfloat16 compute.
WeightLayout LayOutWeight(const WeightMatrix& weight, DataType compute_type);

// Writes the weight, which is in host memory, to `out`, layout.bytes long.
void PackWeight(const WeightMatrix& weight, const WeightLayout& layout, std::span<std::byte> out);

}  // namespace baton::kernels::cuda
