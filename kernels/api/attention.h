// Multi-head latent attention over a paged cache of latents and rotary keys: in its absorbed form,
// which reads the cache as it is, and in its expanded form, which makes every head's keys and
// values from the latents first. One query costs less in the absorbed form, many of one sequence
// together in the expanded one: a score takes nope_dims + rope_dims multiplications, not
// latent_dims + rope_dims.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/api/linear.h"

namespace baton::kernels {

// Tokens of one page of the cache, and of one split of the attention sum.
inline constexpr int64_t kBlockTokens = 64;
inline constexpr int64_t kAttentionSplitTokens = 512;

// Which sequence and position each row of a step belongs to.
struct StepLayout {
  // [tokens] Position of each row in its sequence, from 0.
  std::span<const int32_t> positions;
  // [tokens] Row of `block_tables` of each row's sequence. Rows of one sequence stand together,
  // positions ascending. -1: the row is padding of a graph; it writes and reads no cache, and what
  // becomes of its row of `out` is nobody's.
  std::span<const int32_t> sequence_rows;
  // [sequences, max_blocks] Block of each 64 tokens of a sequence; entries past its length are
  // never read.
  std::span<const int32_t> block_tables;
  int64_t max_blocks = 0;
};

// One layer's cache: block b, token t is row b * kBlockTokens + t: [latent (kv_lora_rank) | rotary
// key (rope_dims)]. Shape: [num_blocks * kBlockTokens, kv_lora_rank + rope_dims] in the compute
// type.
struct KvPages {
  TensorView pages;
  int64_t latent_dims = 0;
  int64_t rope_dims = 0;
};

// Writes each row's latent and rotary key to the cache slot of its position.
// Shapes: latent [tokens, latent_dims], rope_key [tokens, rope_dims] in the compute type; rows may
// be strided. With a table (RopeArgs::table, rope_dims wide) the rotary key is turned on its way:
// the cache gets bit for bit what Rope would have made of it, and `rope_key` stays as it is.
struct KvWriteArgs {
  TensorView latent;
  TensorView rope_key;
  StepLayout layout;
  KvPages cache;
  TensorView rotary_table = {};  // no data: the key is written as it is
};

// For each row and head: out = sum_j softmax_j(scale * (q_latent . latent_j + q_rope . rope_key_j))
// latent_j over all positions j <= the row's own. The cache must hold them already. Shapes:
// q_latent [tokens, heads * latent_dims]; q_rope: head h is the rope_dims columns from h *
// q_rope_head_stride on; out as q_latent; compute type. Numerics: scores, softmax and sums in
// float32; splits of kAttentionSplitTokens positions counted from position 0, combined in order: a
// row's result does not depend on other rows, on chunking or on threads, while the cache is finite
// up to the last row of its sequence in the call (a weight of 0 does not silence an infinity). In
// bfloat16 the probabilities may be rounded to bfloat16 before the second product. Tolerance
// against kernels/reference: 1e-5 relative (float32), 1 % of the row's largest element (bfloat16).
struct MlaAttentionArgs {
  TensorView q_latent;
  TensorView q_rope;
  int64_t q_rope_head_stride = 0;  // columns between heads, >= rope_dims; 0: rope_dims
  int64_t heads = 0;
  float scale = 1.0f;
  StepLayout layout;
  KvPages cache;
  TensorView out;
};

// The expanded form. For each row and head h: out = sum_j softmax_j(scale * (q_nope . key_j +
// q_rope . rope_key_j)) value_j over all positions j <= the row's own, with key_j = key_weights[h]
// latent_j and value_j = value_weights[h] latent_j, rounded to the compute type. The cache must
// hold latents and rotary keys already. Shapes: q: head h is the nope_dims + rope_dims columns from
// h * q_head_stride on; key_weights [nope_dims, latent_dims] and value_weights [value_dims,
// latent_dims] per head; out [tokens, heads * value_dims]; compute type. Numerics, splits, padding
// and tolerance: those of MlaAttentionArgs. Once per sequence and call it takes what making the
// keys and values of all its positions takes, however few its rows. Of backends that expand prompts
// alone.
struct MlaPromptAttentionArgs {
  TensorView q;
  int64_t q_head_stride = 0;  // columns between heads; 0: nope_dims + rope_dims
  std::span<const PackedWeight* const> key_weights;
  std::span<const PackedWeight* const> value_weights;
  float scale = 1.0f;
  StepLayout layout;
  KvPages cache;
  TensorView out;
};

}  // namespace baton::kernels
