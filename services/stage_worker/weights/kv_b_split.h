// kv_b_proj taken apart for attention in both forms.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor/aligned_buffer.h"
#include "common/tensor/tensor_view.h"
#include "kernels/api/linear.h"

namespace baton::stage {

struct KvBDims {
  int64_t num_heads = 0;  // in the matrix
  int64_t nope_dims = 0;
  int64_t value_dims = 0;
  int64_t latent_dims = 0;
};

// One head's two halves, owned; the nope half also as it was published.
struct KvBHead {
  AlignedBuffer w_uk_bytes;
  AlignedBuffer w_k_bytes;
  AlignedBuffer w_uv_bytes;
  TensorView w_uk;  // [latent_dims, nope_dims]: the published rows, transposed
  TensorView w_k;   // [nope_dims, latent_dims]: the published rows
  TensorView w_uv;  // [value_dims, latent_dims]: the published rows
};

// Head `head` of `kv_b` [num_heads * (nope_dims + value_dims), latent_dims]: per head its nope
// rows, then its value rows. FP8 values are multiplied by their scale in float32; each element is
// rounded once, to `type` (float32 or bfloat16).
KvBHead SplitKvB(const kernels::WeightMatrix& kv_b, const KvBDims& dims, int64_t head,
                 DataType type);

}  // namespace baton::stage
