#include "tests/fakes/toy_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"

namespace baton::fakes {
namespace {

using Vector = std::vector<double>;

float RandomValue(const WeightSpec& spec, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  if (spec.scaled_rows > 0) return 0.002f * (1.5f + uniform(random));
  if (absl::EndsWith(spec.name, "norm.weight")) return 1.0f + 0.2f * uniform(random);
  if (absl::EndsWith(spec.name, "correction_bias")) return 0.1f * uniform(random);
  return uniform(random) * (spec.rows > 1 ? 0.5f : 1.0f);
}

MemoryTensor RandomTensor(const WeightSpec& spec, std::mt19937& random) {
  MemoryTensor tensor{spec.type, spec.rows, spec.columns, {}};
  const size_t count = static_cast<size_t>(spec.rows * spec.columns);
  tensor.bytes.resize(count * SizeOf(spec.type));
  for (size_t i = 0; i < count; ++i) {
    if (spec.type == DataType::kFloat8E4M3) {
      // Magnitudes up to 240: exponent bits below 15 keep clear of NaN.
      const uint32_t bits = random();
      tensor.bytes[i] = static_cast<std::byte>((bits & 0x80u) | (bits >> 8) % 0x78u);
      continue;
    }
    const float value = RandomValue(spec, random);
    if (spec.type == DataType::kBFloat16) {
      reinterpret_cast<BFloat16*>(tensor.bytes.data())[i] = ToBFloat16(value);
    } else {
      reinterpret_cast<float*>(tensor.bytes.data())[i] = value;
    }
  }
  return tensor;
}

// The model with widened weights.
class Naive {
 public:
  Naive(const ModelConfig& config, const MemoryCheckpoint& checkpoint)
      : config_(config), checkpoint_(checkpoint) {}

  Vector Row(const std::string& name, int64_t row) const {
    const MemoryTensor& tensor = checkpoint_.tensors().at(name);
    Vector values(static_cast<size_t>(tensor.columns));
    for (int64_t i = 0; i < tensor.columns; ++i) {
      values[static_cast<size_t>(i)] = Element(name, tensor, row, i);
    }
    return values;
  }
  Vector Multiply(const std::string& name, const Vector& x) const {
    const int64_t rows = checkpoint_.tensors().at(name).rows;
    Vector out;
    for (int64_t row = 0; row < rows; ++row) out.push_back(Dot(Row(name, row), x));
    return out;
  }
  Vector Norm(const std::string& name, const Vector& x) const {
    const Vector weight = Row(name, 0);
    const double scale =
        1.0 / std::sqrt(Dot(x, x) / static_cast<double>(x.size()) + config_.rms_norm_epsilon);
    Vector out(x.size());
    for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * scale * weight[i];
    return out;
  }
  std::vector<Vector> Attention(const std::string& layer, const std::vector<Vector>& x) const;
  Vector FeedForward(const std::string& prefix, const Vector& x) const;
  Vector Moe(const std::string& prefix, const Vector& x) const;

  static double Dot(const Vector& a, const Vector& b) {
    BATON_CHECK(a.size() == b.size());
    double sum = 0.0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

 private:
  double Element(const std::string& name, const MemoryTensor& tensor, int64_t row,
                 int64_t column) const {
    const size_t i = static_cast<size_t>(row * tensor.columns + column);
    if (tensor.type == DataType::kFloat32) {
      return reinterpret_cast<const float*>(tensor.bytes.data())[i];
    }
    if (tensor.type == DataType::kBFloat16) {
      return ToFloat(reinterpret_cast<const BFloat16*>(tensor.bytes.data())[i]);
    }
    const MemoryTensor& scales = checkpoint_.tensors().at(name + "_scale_inv");
    const int64_t block = config_.fp8_block_size;
    const int64_t at = row / block * scales.columns + column / block;
    return static_cast<double>(
               ToFloat(reinterpret_cast<const Float8E4M3*>(tensor.bytes.data())[i])) *
           reinterpret_cast<const float*>(scales.bytes.data())[at];
  }
  void Rotate(double* x, size_t position, const std::vector<float>& table) const {
    const float* row = &table[position * static_cast<size_t>(config_.qk_rope_head_dim)];
    for (int64_t i = 0; i < config_.qk_rope_head_dim; i += 2) {
      const double a = x[i];
      const double b = x[i + 1];
      x[i] = a * row[i] - b * row[i + 1];
      x[i + 1] = a * row[i + 1] + b * row[i];
    }
  }

  const ModelConfig& config_;
  const MemoryCheckpoint& checkpoint_;
};

std::vector<Vector> Naive::Attention(const std::string& layer, const std::vector<Vector>& x) const {
  const std::string prefix = layer + "self_attn.";
  const std::vector<float> table = BuildRotaryTable(config_, static_cast<int64_t>(x.size()));
  const int64_t nope = config_.qk_nope_head_dim;
  const int64_t v_dims = config_.v_head_dim;
  std::vector<Vector> queries, rope_keys, keys_values, out;
  for (size_t t = 0; t < x.size(); ++t) {
    Vector q = config_.q_lora_rank > 0 ? Multiply(prefix + "q_b_proj.weight",
                                                  Norm(prefix + "q_a_layernorm.weight",
                                                       Multiply(prefix + "q_a_proj.weight", x[t])))
                                       : Multiply(prefix + "q_proj.weight", x[t]);
    for (int64_t head = 0; head < config_.num_heads; ++head) {
      Rotate(&q[static_cast<size_t>(head * config_.qk_head_dim() + nope)], t, table);
    }
    queries.push_back(std::move(q));
    const Vector kv = Multiply(prefix + "kv_a_proj_with_mqa.weight", x[t]);
    const auto split = kv.begin() + config_.kv_lora_rank;
    rope_keys.emplace_back(split, kv.end());
    Rotate(rope_keys.back().data(), t, table);
    keys_values.push_back(Multiply(prefix + "kv_b_proj.weight",
                                   Norm(prefix + "kv_a_layernorm.weight", {kv.begin(), split})));

    Vector heads;
    for (int64_t head = 0; head < config_.num_heads; ++head) {
      const auto query = queries[t].begin() + head * config_.qk_head_dim();
      Vector weights;
      for (size_t j = 0; j <= t; ++j) {
        const auto key = keys_values[j].begin() + head * (nope + v_dims);
        const double score = Dot({query, query + nope}, {key, key + nope}) +
                             Dot({query + nope, query + config_.qk_head_dim()}, rope_keys[j]);
        weights.push_back(std::exp(score * config_.attention_scale()));
      }
      double total = 0.0;
      for (double weight : weights) total += weight;
      for (int64_t i = 0; i < v_dims; ++i) {
        double sum = 0.0;
        for (size_t j = 0; j <= t; ++j) {
          sum +=
              weights[j] * keys_values[j][static_cast<size_t>(head * (nope + v_dims) + nope + i)];
        }
        heads.push_back(sum / total);
      }
    }
    out.push_back(Multiply(prefix + "o_proj.weight", heads));
  }
  return out;
}

Vector Naive::FeedForward(const std::string& prefix, const Vector& x) const {
  Vector inner = Multiply(prefix + "gate_proj.weight", x);
  const Vector up = Multiply(prefix + "up_proj.weight", x);
  for (size_t i = 0; i < inner.size(); ++i) inner[i] *= up[i] / (1.0 + std::exp(-inner[i]));
  return Multiply(prefix + "down_proj.weight", inner);
}

Vector Naive::Moe(const std::string& prefix, const Vector& x) const {
  Vector scores = Multiply(prefix + "gate.weight", x);
  Vector choice = Row(prefix + "gate.e_score_correction_bias", 0);
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] = 1.0 / (1.0 + std::exp(-scores[i]));
    choice[i] += scores[i];
  }
  const size_t group_size = scores.size() / static_cast<size_t>(config_.num_expert_groups);
  std::vector<std::pair<double, size_t>> groups;
  for (size_t begin = 0; begin < scores.size(); begin += group_size) {
    Vector members(choice.begin() + begin, choice.begin() + begin + group_size);
    std::sort(members.begin(), members.end(), std::greater<double>());
    groups.emplace_back(-(members[0] + members[1]), begin);
  }
  std::sort(groups.begin(), groups.end());
  std::vector<std::pair<double, size_t>> experts;
  for (int64_t group = 0; group < config_.num_kept_groups; ++group) {
    for (size_t i = 0; i < group_size; ++i) {
      const size_t expert = groups[static_cast<size_t>(group)].second + i;
      experts.emplace_back(-choice[expert], expert);
    }
  }
  std::sort(experts.begin(), experts.end());
  experts.resize(static_cast<size_t>(config_.experts_per_token));
  double total = 0.0;
  for (const auto& [order, expert] : experts) total += scores[expert];
  Vector out(x.size());
  const auto add = [&out](double weight, const Vector& y) {
    for (size_t i = 0; i < out.size(); ++i) out[i] += weight * y[i];
  };
  for (const auto& [order, expert] : experts) {
    const double weight =
        config_.normalize_expert_weights ? scores[expert] / total : scores[expert];
    add(weight * config_.routed_scaling_factor,
        FeedForward(absl::StrCat(prefix, "experts.", expert, "."), x));
  }
  if (config_.num_shared_experts > 0) add(1.0, FeedForward(prefix + "shared_experts.", x));
  return out;
}

void AddTo(std::vector<Vector>& stream, const std::vector<Vector>& delta) {
  for (size_t t = 0; t < stream.size(); ++t) {
    for (size_t i = 0; i < stream[t].size(); ++i) stream[t][i] += delta[t][i];
  }
}

}  // namespace

ModelConfig ToyConfig() {
  ModelConfig config;
  config.architecture = "deepseek_v3";
  config.hidden_size = 48;
  config.num_layers = 3;
  config.num_dense_layers = 1;
  config.intermediate_size = 72;
  config.moe_intermediate_size = 36;
  config.num_experts = 8;
  config.num_shared_experts = 1;
  config.experts_per_token = 3;
  config.num_expert_groups = 4;
  config.num_kept_groups = 2;
  config.routed_scaling_factor = 1.5;
  config.num_heads = 6;
  config.q_lora_rank = 20;
  config.kv_lora_rank = 24;
  config.qk_nope_head_dim = 10;
  config.qk_rope_head_dim = 4;
  config.v_head_dim = 6;
  config.max_positions = 512;
  config.vocab_size = 60;
  config.fp8_weights = true;
  config.fp8_block_size = 16;
  config.bos_token_id = 0;
  config.eos_token_ids = {1};
  return config;
}

MemoryCheckpoint RandomCheckpoint(const ModelConfig& config, uint32_t seed) {
  std::mt19937 random(seed);
  MemoryCheckpoint checkpoint;
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    checkpoint.Set(spec.name, RandomTensor(spec, random));
  }
  return checkpoint;
}

std::vector<std::vector<double>> NaiveLogits(const ModelConfig& config,
                                             const MemoryCheckpoint& checkpoint,
                                             const std::vector<uint32_t>& token_ids) {
  const Naive model(config, checkpoint);
  const std::string embedding = "model.embed_tokens.weight";
  std::vector<Vector> stream;
  for (uint32_t token : token_ids) stream.push_back(model.Row(embedding, token));
  for (int64_t index = 0; index < config.num_layers; ++index) {
    const std::string layer = absl::StrCat("model.layers.", index, ".");
    std::vector<Vector> normed;
    for (const Vector& x : stream)
      normed.push_back(model.Norm(layer + "input_layernorm.weight", x));
    AddTo(stream, model.Attention(layer, normed));
    std::vector<Vector> mlp;
    for (const Vector& x : stream) {
      const Vector y = model.Norm(layer + "post_attention_layernorm.weight", x);
      mlp.push_back(config.is_dense_layer(index) ? model.FeedForward(layer + "mlp.", y)
                                                 : model.Moe(layer + "mlp.", y));
    }
    AddTo(stream, mlp);
  }
  std::vector<Vector> logits;
  for (const Vector& x : stream) {
    logits.push_back(model.Multiply(config.tie_word_embeddings ? embedding : "lm_head.weight",
                                    model.Norm("model.norm.weight", x)));
  }
  return logits;
}

double NaiveLogprob(const std::vector<double>& logits, uint32_t token_id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double total = 0.0;
  for (double logit : logits) total += std::exp(logit - largest);
  return logits[token_id] - largest - std::log(total);
}

}  // namespace baton::fakes
