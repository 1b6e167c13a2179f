// Token embedding from a shard of the vocabulary.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

// out[t] = table[token_ids[t] - vocabulary_begin] where that row exists, else zeros; the sum over
// all shards is the embedding. Shapes: table [rows, hidden] in bfloat16 or float32; token_ids
// [tokens]; out [tokens, hidden] in float32. Exact.
struct EmbedArgs {
  std::span<const uint32_t> token_ids;
  TensorView table;
  uint32_t vocabulary_begin = 0;
  TensorView out;
};

}  // namespace baton::kernels
