#include "tools/mini_r1/mini_config.h"

#include <algorithm>

#include "nlohmann/json.hpp"

namespace baton {
namespace {

using nlohmann::ordered_json;

// DeepSeek-R1 keeps four of eight groups; few experts make fewer groups, of two at least.
int64_t NumGroups(const MiniSizes& sizes) {
  int64_t groups = 8;
  while (groups > 1 && (sizes.num_experts % groups != 0 || sizes.num_experts / groups < 2)) {
    groups /= 2;
  }
  return groups;
}

}  // namespace

std::string MiniConfigJson(const MiniSizes& sizes) {
  const int64_t groups = NumGroups(sizes);
  ordered_json config = {
      {"architectures", {"DeepseekV3ForCausalLM"}},
      {"model_type", "deepseek_v3"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"bos_token_id", 0},
      {"eos_token_id", 1},
      {"hidden_act", "silu"},
      {"hidden_size", sizes.hidden_size},
      {"num_hidden_layers", sizes.num_layers},
      {"first_k_dense_replace", sizes.num_dense_layers},
      {"moe_layer_freq", 1},
      {"intermediate_size", sizes.intermediate_size},
      {"moe_intermediate_size", sizes.moe_intermediate_size},
      {"n_routed_experts", sizes.num_experts},
      {"n_shared_experts", 1},
      {"num_experts_per_tok", sizes.experts_per_token},
      {"n_group", groups},
      {"topk_group", std::max<int64_t>(groups / 2, 1)},
      {"topk_method", "noaux_tc"},
      {"scoring_func", "sigmoid"},
      {"norm_topk_prob", true},
      {"routed_scaling_factor", 2.5},
      {"num_attention_heads", sizes.num_heads},
      {"num_key_value_heads", sizes.num_heads},
      {"q_lora_rank", sizes.q_lora_rank},
      {"kv_lora_rank", sizes.kv_lora_rank},
      {"qk_nope_head_dim", sizes.qk_nope_head_dim},
      {"qk_rope_head_dim", sizes.qk_rope_head_dim},
      {"v_head_dim", sizes.v_head_dim},
      {"rms_norm_eps", 1e-6},
      {"rope_theta", 10000},
      {"rope_scaling",
       {{"type", "yarn"},
        {"factor", 40},
        {"original_max_position_embeddings", 4096},
        {"mscale", 1.0},
        {"mscale_all_dim", 1.0},
        {"beta_fast", 32},
        {"beta_slow", 1}}},
      {"max_position_embeddings", 163840},
      {"vocab_size", sizes.vocab_size},
      {"num_nextn_predict_layers", sizes.num_mtp_layers},
      {"tie_word_embeddings", false},
      {"initializer_range", 0.02},
      {"ep_size", 1},
      {"aux_loss_alpha", 0.001},
      {"seq_aux", true},
      {"pretraining_tp", 1},
      {"use_cache", true},
      {"torch_dtype", "bfloat16"},
  };
  if (sizes.fp8) {
    config["quantization_config"] = {{"quant_method", "fp8"},
                                     {"fmt", "e4m3"},
                                     {"weight_block_size", {128, 128}},
                                     {"activation_scheme", "dynamic"}};
  }
  return config.dump(2) + "\n";
}

}  // namespace baton
