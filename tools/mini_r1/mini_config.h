// The config.json of a random-weight model of DeepSeek-R1's architecture.
#pragma once

#include <cstdint>
#include <string>

namespace baton {

// The defaults make 2.09 billion parameters: more than any cache holds, less than a laptop's
// memory.
struct MiniSizes {
  int64_t hidden_size = 2048;
  int64_t num_layers = 8;
  int64_t num_dense_layers = 1;  // the first ones
  int64_t intermediate_size = 5632;
  int64_t moe_intermediate_size = 512;
  int64_t num_experts = 64;  // routed; in eight groups, four of which are kept
  int64_t experts_per_token = 8;
  int64_t num_heads = 16;
  int64_t q_lora_rank = 768;
  int64_t kv_lora_rank = 512;
  int64_t qk_nope_head_dim = 128;
  int64_t qk_rope_head_dim = 64;
  int64_t v_head_dim = 128;
  int64_t vocab_size = 129280;
  int64_t num_mtp_layers = 0;
  bool fp8 = true;
};

// Fields by their published names; YaRN, routing and normalisation as DeepSeek-R1's.
std::string MiniConfigJson(const MiniSizes& sizes);

}  // namespace baton
