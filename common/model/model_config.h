// The sizes of a DeepSeek-V3-architecture model, read from its config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

// Position scaling; every field as in config.json's rope_scaling or rope_parameters.
struct YarnScaling {
  double factor = 1.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;
  int64_t original_max_positions = 0;

  // What it multiplies the rotary table by: 1 where the two mscales are alike.
  double rotary_amplitude() const;
};

struct ModelConfig {
  std::string architecture;  // "deepseek_v3"
  int64_t hidden_size = 0;
  int64_t num_layers = 0;        // without the MTP modules
  int64_t num_mtp_layers = 0;    // stored as layers num_layers, num_layers + 1, ...
  int64_t num_dense_layers = 0;  // the first ones (first_k_dense_replace)
  int64_t intermediate_size = 0;
  int64_t moe_intermediate_size = 0;
  int64_t num_experts = 0;  // routed
  int64_t num_shared_experts = 0;
  int64_t experts_per_token = 0;
  int64_t num_expert_groups = 1;
  int64_t num_kept_groups = 1;
  bool normalize_expert_weights = true;
  double routed_scaling_factor = 1.0;
  int64_t num_heads = 0;
  int64_t q_lora_rank = 0;  // 0: q_proj without a low-rank step
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  double rms_norm_epsilon = 1e-6;
  double rope_theta = 10000.0;
  bool has_yarn = false;
  YarnScaling yarn;
  int64_t max_positions = 0;  // max_position_embeddings
  int64_t vocab_size = 0;
  bool tie_word_embeddings = false;
  bool fp8_weights = false;  // quantization_config: e4m3 with weight_scale_inv
  int64_t fp8_block_size = 128;
  int64_t bos_token_id = -1;
  std::vector<int64_t> eos_token_ids;

  int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  bool is_dense_layer(int64_t layer) const { return layer < num_dense_layers; }
  // Softmax scale: qk_head_dim^-0.5, times YaRN's mscale squared where it applies.
  double attention_scale() const;
  // KV cache elements of one token in one layer.
  int64_t kv_width() const { return kv_lora_rank + qk_rope_head_dim; }
};

// Parses and checks a config.json. Errors: InvalidArgument naming the field and its value; an
// unknown architecture, scoring function, top-k method, rope scaling type or quantisation is
// refused rather than guessed; so is a field that would change answers and has a value that is not
// implemented, one that is missing and that others take for something else (routing, dense layers),
// and one of which the published implementations make different things. Positions may be described
// as transformers 4 writes them (rope_theta, rope_scaling) or 5 (rope_parameters).
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json);

// Reads `directory`/config.json, at most 1 MiB. Errors: NotFound, InvalidArgument.
absl::StatusOr<std::string> ReadModelConfigText(const std::string& directory);

// Hex SHA-256 of the text of a config.json: what the roles of a group compare.
std::string ModelFingerprint(absl::string_view config_json);

// Rotary table [max_positions, qk_rope_head_dim]: cos of pair i at column 2i, sin at 2i + 1, YaRN
// applied as DeepSeek's and Hugging Face's code do (frequencies; amplitude mscale /
// mscale_all_dim).
std::vector<float> BuildRotaryTable(const ModelConfig& config, int64_t max_positions);

}  // namespace baton
