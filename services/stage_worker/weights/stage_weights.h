// The weights of one device, named, as the model code reads them. Made by WeightStore; immutable
// afterwards. N is the number of tensor-parallel ranks; "shard" is one rank's part. A null weight
// is one that this model or stage does not have.
#pragma once

#include <memory>
#include <vector>

#include "common/tensor/tensor_view.h"
#include "kernels/api/experts.h"
#include "kernels/api/linear.h"

namespace baton::stage {

using PackedPtr = std::unique_ptr<kernels::PackedWeight>;

// One rank's heads. H = num_heads / N.
struct AttentionShard {
  PackedPtr q;                  // [H * qk_head_dim, q_lora_rank], or [.., hidden] without q_lora
  std::vector<PackedPtr> w_uk;  // per head [kv_lora_rank, qk_nope_head_dim]: q_nope to latent
  std::vector<PackedPtr> w_uv;  // per head [v_head_dim, kv_lora_rank]: latent to value
  // Per head [qk_nope_head_dim, kv_lora_rank]: latent to key; where prompts are expanded.
  std::vector<PackedPtr> w_k;
  std::vector<const kernels::PackedWeight*> w_uk_heads;  // borrows of w_uk
  std::vector<const kernels::PackedWeight*> w_uv_heads;  // borrows of w_uv
  std::vector<const kernels::PackedWeight*> w_k_heads;   // borrows of w_k
  PackedPtr o;                                           // [hidden, H * v_head_dim]
};

// One rank's columns of a gated feed-forward network. I = its intermediate size / N.
struct FeedForwardShard {
  PackedPtr gate;  // [I, hidden]
  PackedPtr up;    // [I, hidden]
  PackedPtr down;  // [hidden, I]

  kernels::FeedForwardWeights view() const { return {gate.get(), up.get(), down.get()}; }
};

// One rank's part of a layer: `dense`, or `experts` and `shared`.
struct LayerShard {
  AttentionShard attention;
  FeedForwardShard dense;
  std::vector<FeedForwardShard> experts;
  FeedForwardShard shared;
  std::vector<kernels::FeedForwardWeights> expert_views;  // borrows of experts
};

// One layer: what all ranks share, and the shards of this device's ranks in rank order.
struct LayerWeights {
  TensorView input_norm;           // float32 [1, hidden]
  PackedPtr q_a;                   // [q_lora_rank, hidden]; null without q_lora
  TensorView q_a_norm;             // float32 [1, q_lora_rank]
  PackedPtr kv_a;                  // [kv_lora_rank + qk_rope_head_dim, hidden]
  TensorView kv_a_norm;            // float32 [1, kv_lora_rank]
  TensorView post_attention_norm;  // float32 [1, hidden]
  PackedPtr router;                // [num_experts, hidden]; null in dense layers
  TensorView router_bias;          // float32 [1, num_experts]
  std::vector<LayerShard> ranks;
};

// The MTP module: a decoder layer between a projection of its own and the head that it shares.
struct MtpWeights {
  std::vector<TensorView> embedding;  // per rank [vocab_size / N, hidden]
  TensorView embedding_norm;          // float32 [1, hidden]
  TensorView hidden_norm;             // float32 [1, hidden]
  PackedPtr join;                     // [hidden, 2 * hidden]: embedding, then hidden state
  LayerWeights layer;
  TensorView head_norm;         // float32 [1, hidden]
  std::vector<PackedPtr> head;  // per rank [vocab_size / N, hidden]
};

// Everything of one device.
struct StageWeights {
  std::vector<TensorView> embedding;  // per rank [vocab_size / N, hidden]; first stage only
  std::vector<LayerWeights> layers;   // the stage's, in order
  TensorView final_norm;              // float32 [1, hidden]; last stage only
  std::vector<PackedPtr> head;        // per rank [vocab_size / N, hidden]; last stage only
  std::unique_ptr<MtpWeights> mtp;    // null unless the stage drafts
};

}  // namespace baton::stage
