#include "common/model/model_config.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/digest/sha256.h"
#include "common/model/config_fields.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr int kMaxDepth = 16;
// Limits far above any published model; they keep every product of two sizes within 64 bits.
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxLayersTimesExperts = 1 << 17;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 1 << 14;
constexpr int64_t kMaxVocabulary = 1 << 24;
constexpr int64_t kMaxPositions = 1 << 24;
constexpr double kMaxParameters = 1e14;

absl::StatusOr<json> ParseObject(absl::string_view text) {
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", text.size(), " bytes, more than ", kMaxConfigBytes));
  }
  bool too_deep = false;
  const json::parser_callback_t limit_depth = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) too_deep = true;
    return depth <= kMaxDepth;
  };
  json root = json::parse(text.begin(), text.end(), limit_depth, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(absl::StrCat("nested deeper than ", kMaxDepth));
  }
  if (!root.is_object()) return absl::InvalidArgumentError("it is not a JSON object");
  return root;
}

void CheckArchitecture(ConfigFields& fields) {
  if (fields.Text("model_type") != "deepseek_v3") {
    fields.Refuse("model_type", "supported: deepseek_v3");
  }
  const json* names = fields.Find("architectures");
  if (names != nullptr && *names != json::array({"DeepseekV3ForCausalLM"})) {
    fields.Refuse("architectures", "supported: [\"DeepseekV3ForCausalLM\"]");
  }
  fields.ExpectText("hidden_act", {"silu"});
  fields.ExpectText("torch_dtype", {"bfloat16"});
  fields.ExpectText("dtype", {"bfloat16"});
  fields.ExpectFlag("attention_bias", false);
  fields.ExpectInteger("moe_layer_freq", 1);
  // Weights cut for training; more than one would mean sums in another order.
  fields.ExpectInteger("pretraining_tp", 1);
  if (fields.Find("compression_config") != nullptr) {
    fields.Refuse("compression_config", "supported: quantization_config");
  }
}

void ReadSizes(ConfigFields& fields, ModelConfig& config) {
  config.hidden_size = fields.Integer("hidden_size", 1, kMaxWidth);
  config.num_layers = fields.Integer("num_hidden_layers", 1, kMaxLayers);
  config.num_mtp_layers = fields.Integer("num_nextn_predict_layers", 0, 8, 0);
  config.num_dense_layers = fields.Integer("first_k_dense_replace", 0, config.num_layers);
  config.intermediate_size = fields.Integer("intermediate_size", 1, kMaxWidth);
  config.rms_norm_epsilon = fields.Number("rms_norm_eps", 1e-12, 1e-2, 1e-6);
  config.max_positions = fields.Integer("max_position_embeddings", 1, kMaxPositions);
  config.vocab_size = fields.Integer("vocab_size", 2, kMaxVocabulary);
  config.tie_word_embeddings = fields.Flag("tie_word_embeddings", false);
}

void ReadAttention(ConfigFields& fields, ModelConfig& config) {
  config.num_heads = fields.Integer("num_attention_heads", 1, kMaxHeads);
  if (fields.Integer("num_key_value_heads", 1, kMaxHeads, config.num_heads) != config.num_heads) {
    fields.Refuse("num_key_value_heads", "wanted the value of num_attention_heads");
  }
  config.q_lora_rank = fields.Integer("q_lora_rank", 0, kMaxWidth, 0);
  config.kv_lora_rank = fields.Integer("kv_lora_rank", 1, kMaxWidth);
  config.qk_nope_head_dim = fields.Integer("qk_nope_head_dim", 1, kMaxHeadDim);
  config.qk_rope_head_dim = fields.Integer("qk_rope_head_dim", 2, kMaxHeadDim);
  if (config.qk_rope_head_dim % 2 != 0) fields.Refuse("qk_rope_head_dim", "wanted an even number");
  config.v_head_dim = fields.Integer("v_head_dim", 1, kMaxHeadDim);
  // What transformers derives and writes down; others would mean another rotary width or scale.
  fields.ExpectInteger("head_dim", config.qk_rope_head_dim);
  fields.ExpectInteger("qk_head_dim", config.qk_head_dim());
}

void ReadExperts(ConfigFields& fields, ModelConfig& config) {
  fields.ExpectText("scoring_func", {"sigmoid"});
  fields.ExpectText("topk_method", {"noaux_tc"});
  config.moe_intermediate_size = fields.Integer("moe_intermediate_size", 1, kMaxWidth);
  config.num_experts = fields.Integer("n_routed_experts", 1, kMaxExperts);
  config.num_shared_experts = fields.Integer("n_shared_experts", 0, 64);
  config.num_expert_groups = fields.Integer("n_group", 1, config.num_experts);
  config.num_kept_groups = fields.Integer("topk_group", 1, config.num_expert_groups);
  if (!fields.status().ok()) return;
  // A group's score is the sum of its two best experts.
  if (config.num_experts % config.num_expert_groups != 0 ||
      config.num_experts / config.num_expert_groups < 2) {
    fields.Refuse("n_group", absl::StrCat("n_routed_experts is ", config.num_experts,
                                          ": wanted groups of equal size, at least 2"));
    return;
  }
  const int64_t reachable = config.num_experts / config.num_expert_groups * config.num_kept_groups;
  config.experts_per_token = fields.Integer("num_experts_per_tok", 1, reachable);
  config.normalize_expert_weights = fields.Flag("norm_topk_prob", true);
  config.routed_scaling_factor = fields.Number("routed_scaling_factor", 1e-6, 1e6);
  if ((config.num_layers + config.num_mtp_layers) * config.num_experts > kMaxLayersTimesExperts) {
    fields.Refuse("n_routed_experts",
                  absl::StrCat("times the layers it exceeds ", kMaxLayersTimesExperts));
  }
}

// What Hugging Face's code would multiply the rotary table by, if the config says so itself.
// Written with few digits by some.
constexpr double kAmplitudeTolerance = 1e-4;

void CheckAmplitude(ConfigFields& fields, const YarnScaling& yarn) {
  // With these, DeepSeek's code takes mscale as it is, Hugging Face's for 1.
  if (yarn.mscale == 0.0 || (yarn.mscale_all_dim == 0.0 && yarn.mscale != 1.0)) {
    fields.Refuse("mscale", absl::StrCat("mscale_all_dim is ", yarn.mscale_all_dim,
                                         ": published implementations disagree about that"));
  }
  if (fields.Find("attention_factor") == nullptr || !fields.status().ok()) return;
  const double said = fields.Number("attention_factor", 0.0, 1e3);
  const double wanted = yarn.rotary_amplitude();
  if (std::abs(said - wanted) > kAmplitudeTolerance * wanted) {
    fields.Refuse("attention_factor",
                  absl::StrCat("supported: ", wanted, ", which mscale and mscale_all_dim make"));
  }
}

// The scaling that `fields` describe: rope_scaling, or rope_parameters, which holds rope_theta too.
void ReadScaling(ConfigFields& fields, ModelConfig& config) {
  const absl::string_view type_key = fields.Find("type") != nullptr ? "type" : "rope_type";
  const std::string type = fields.Text(type_key);
  if (!fields.status().ok()) return;
  if (type != "yarn" && type != "default") fields.Refuse(type_key, "supported: yarn, default");
  fields.ExpectText("rope_type", {type});
  fields.ExpectKeys({"type", "rope_type", "rope_theta", "factor", "beta_fast", "beta_slow",
                     "mscale", "mscale_all_dim", "original_max_position_embeddings",
                     "attention_factor", "truncate", "partial_rotary_factor"});
  fields.ExpectInteger("partial_rotary_factor", 1);
  if (type == "default") return;
  config.has_yarn = true;
  YarnScaling& yarn = config.yarn;
  yarn.factor = fields.Number("factor", 1.0, 1e6);
  yarn.beta_fast = fields.Number("beta_fast", 1e-3, 1e6, 32.0);
  yarn.beta_slow = fields.Number("beta_slow", 1e-3, 1e6, 1.0);
  yarn.mscale = fields.Number("mscale", 0.0, 1e3, 1.0);
  yarn.mscale_all_dim = fields.Number("mscale_all_dim", 0.0, 1e3, 0.0);
  yarn.original_max_positions =
      fields.Integer("original_max_position_embeddings", 1, kMaxPositions);
  fields.ExpectFlag("truncate", true);
  CheckAmplitude(fields, yarn);
}

constexpr double kMinTheta = 1.0 + 1e-6;
constexpr double kMaxTheta = 1e12;

absl::Status ReadRope(ConfigFields& fields, ModelConfig& config) {
  // Pair i is columns 2i and 2i + 1 of the stored weights; false would pair i with i + half.
  fields.ExpectFlag("rope_interleave", true);
  const json* parameters = fields.Find("rope_parameters");
  const absl::string_view key = parameters != nullptr ? "rope_parameters" : "rope_scaling";
  const json* scaling = fields.Find(key);
  if (scaling != nullptr && !scaling->is_object()) fields.Refuse(key, "wanted an object or null");
  if (parameters != nullptr) {
    for (const absl::string_view older : {"rope_scaling", "rope_theta"}) {
      if (fields.Find(older) != nullptr) fields.Refuse(older, "rope_parameters is there too");
    }
  } else {
    config.rope_theta = fields.Number("rope_theta", kMinTheta, kMaxTheta, 10000.0);
  }
  RETURN_IF_ERROR(fields.status());
  if (scaling == nullptr) return absl::OkStatus();
  ConfigFields inner(*scaling, absl::StrCat(key, "."));
  if (parameters != nullptr) {
    config.rope_theta = inner.Number("rope_theta", kMinTheta, kMaxTheta);
  } else if (inner.Find("rope_theta") != nullptr) {
    inner.Refuse("rope_theta", "wanted it beside rope_scaling, or rope_parameters");
  }
  ReadScaling(inner, config);
  return inner.status();
}

absl::Status ReadQuantization(ConfigFields& fields, ModelConfig& config) {
  const json* quantization = fields.Find("quantization_config");
  if (quantization == nullptr) return absl::OkStatus();
  if (!quantization->is_object()) {
    fields.Refuse("quantization_config", "wanted an object or null");
    return absl::OkStatus();
  }
  ConfigFields inner(*quantization, "quantization_config.");
  if (inner.Text("quant_method") != "fp8") inner.Refuse("quant_method", "supported: fp8");
  inner.ExpectText("fmt", {"e4m3"});
  inner.ExpectText("activation_scheme", {"dynamic"});
  // ue8m0: scales are powers of two, stored as float32 all the same.
  inner.ExpectText("scale_fmt", {"float", "ue8m0"});
  inner.ExpectKeys({"quant_method", "fmt", "activation_scheme", "scale_fmt", "weight_block_size",
                    "modules_to_not_convert", "dequantize"});
  inner.ExpectFlag("dequantize", false);
  // Which weights are FP8 is the architecture's: the rest is stored as it is in any case.
  const json* kept = inner.Find("modules_to_not_convert");
  if (kept != nullptr && *kept != json::array() && *kept != json::array({"lm_head"})) {
    inner.Refuse("modules_to_not_convert", "supported: [], [\"lm_head\"]");
  }
  const json* block = inner.Find("weight_block_size");
  if (block == nullptr || *block != json::array({128, 128})) {
    inner.Refuse("weight_block_size", "supported: [128, 128]");
  }
  config.fp8_weights = true;
  config.fp8_block_size = 128;
  return inner.status();
}

void ReadTokens(ConfigFields& fields, ModelConfig& config) {
  config.bos_token_id = fields.Integer("bos_token_id", 0, config.vocab_size - 1, -1);
  const json* eos = fields.Find("eos_token_id");
  if (eos != nullptr && eos->is_array()) {
    for (const json& id : *eos) {
      const bool valid =
          id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(config.vocab_size);
      if (!valid) return fields.Refuse("eos_token_id", "wanted ids below vocab_size");
      config.eos_token_ids.push_back(id.get<int64_t>());
    }
    return;
  }
  const int64_t id = fields.Integer("eos_token_id", 0, config.vocab_size - 1, -1);
  if (id >= 0) config.eos_token_ids.push_back(id);
}

// In floating point, so that nothing can overflow before the limit is checked.
double ApproximateParameters(const ModelConfig& config) {
  const double hidden = static_cast<double>(config.hidden_size);
  const double heads = static_cast<double>(config.num_heads);
  const double attention =
      heads * static_cast<double>(config.qk_head_dim()) *
          static_cast<double>(std::max(config.q_lora_rank, config.hidden_size)) +
      heads * static_cast<double>((config.qk_nope_head_dim + config.v_head_dim)) *
          static_cast<double>(config.kv_lora_rank) +
      heads * static_cast<double>(config.v_head_dim) * hidden +
      hidden * static_cast<double>(config.q_lora_rank + config.kv_width());
  const double dense = 3.0 * hidden * static_cast<double>(config.intermediate_size);
  const double experts = 3.0 * hidden * static_cast<double>(config.moe_intermediate_size) *
                         static_cast<double>(config.num_experts + config.num_shared_experts);
  const double layers = static_cast<double>(config.num_layers + config.num_mtp_layers);
  return layers * (attention + dense + experts + 2.0 * hidden * hidden) +
         static_cast<double>(2 + 2 * config.num_mtp_layers) * hidden *
             static_cast<double>(config.vocab_size);
}

absl::StatusOr<ModelConfig> Read(absl::string_view text) {
  ASSIGN_OR_RETURN(const json root, ParseObject(text));
  ConfigFields fields(root, "");
  ModelConfig config;
  CheckArchitecture(fields);
  RETURN_IF_ERROR(fields.status());
  config.architecture = "deepseek_v3";
  ReadSizes(fields, config);
  ReadAttention(fields, config);
  ReadExperts(fields, config);
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(ReadRope(fields, config));
  RETURN_IF_ERROR(ReadQuantization(fields, config));
  ReadTokens(fields, config);
  RETURN_IF_ERROR(fields.status());
  if (ApproximateParameters(config) > kMaxParameters) {
    return absl::InvalidArgumentError(absl::StrCat("its sizes make about ",
                                                   ApproximateParameters(config),
                                                   " parameters; the limit is ", kMaxParameters));
  }
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view text) {
  absl::StatusOr<ModelConfig> config = Read(text);
  if (!config.ok()) return Annotate(config.status(), "config.json");
  return config;
}

absl::StatusOr<std::string> ReadModelConfigText(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/config.json");
  // Not blocking: opening a pipe under that name must not hang.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  struct stat attributes = {};
  std::string text;
  ssize_t count = -1;
  const bool regular = fstat(file, &attributes) == 0 && S_ISREG(attributes.st_mode);
  if (regular) {
    text.resize(kMaxConfigBytes + 1);
    size_t size = 0;
    while (size < text.size() && (count = read(file, &text[size], text.size() - size)) > 0) {
      size += static_cast<size_t>(count);
    }
    text.resize(size);
  }
  close(file);
  if (!regular) return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  if (count < 0) return absl::InvalidArgumentError(absl::StrCat(path, " cannot be read"));
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has more than ", kMaxConfigBytes, " bytes"));
  }
  return text;
}

std::string ModelFingerprint(absl::string_view config_json) {
  return absl::BytesToHexString(AsBytes(Sha256(config_json)));
}

}  // namespace baton
