#include "common/model/weight_inventory.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"

namespace baton {
namespace {

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Appends the tensors of one part of the model.
class Lister {
 public:
  Lister(const ModelConfig& config, std::vector<WeightSpec>* out) : config_(config), out_(*out) {}

  void Place(WeightPlace place, int64_t layer) {
    place_ = place;
    layer_ = layer;
  }

  void Vector(std::string name, int64_t size, DataType type = DataType::kBFloat16) {
    WeightSpec spec = Base(std::move(name), type, 1, size);
    spec.num_dimensions = 1;
    out_.push_back(std::move(spec));
  }

  // A matrix that is BF16 in both forms of a checkpoint.
  void Matrix(std::string name, int64_t rows, int64_t columns, ShardAxis axis) {
    WeightSpec spec = Base(std::move(name), DataType::kBFloat16, rows, columns);
    spec.axis = axis;
    out_.push_back(std::move(spec));
  }

  // A linear layer: FP8 with block scales in the FP8 form, else BF16. `name` without ".weight".
  void Linear(absl::string_view name, int64_t rows, int64_t columns, ShardAxis axis) {
    if (!config_.fp8_weights) return Matrix(absl::StrCat(name, ".weight"), rows, columns, axis);
    WeightSpec weight = Base(absl::StrCat(name, ".weight"), DataType::kFloat8E4M3, rows, columns);
    weight.axis = axis;
    out_.push_back(std::move(weight));
    WeightSpec scale =
        Base(absl::StrCat(name, ".weight_scale_inv"), DataType::kFloat32,
             CeilDivide(rows, config_.fp8_block_size), CeilDivide(columns, config_.fp8_block_size));
    scale.axis = axis;
    scale.scaled_rows = rows;
    scale.scaled_columns = columns;
    out_.push_back(std::move(scale));
  }

 private:
  WeightSpec Base(std::string name, DataType type, int64_t rows, int64_t columns) const {
    WeightSpec spec;
    spec.name = std::move(name);
    spec.type = type;
    spec.rows = rows;
    spec.columns = columns;
    spec.place = place_;
    spec.layer = layer_;
    return spec;
  }

  const ModelConfig& config_;
  std::vector<WeightSpec>& out_;
  WeightPlace place_ = WeightPlace::kEmbedding;
  int64_t layer_ = -1;
};

void ListAttention(const ModelConfig& config, const std::string& layer, Lister& list) {
  const std::string prefix = absl::StrCat(layer, "self_attn.");
  const int64_t q_rows = config.num_heads * config.qk_head_dim();
  if (config.q_lora_rank > 0) {
    list.Linear(absl::StrCat(prefix, "q_a_proj"), config.q_lora_rank, config.hidden_size,
                ShardAxis::kReplicated);
    list.Vector(absl::StrCat(prefix, "q_a_layernorm.weight"), config.q_lora_rank);
    list.Linear(absl::StrCat(prefix, "q_b_proj"), q_rows, config.q_lora_rank, ShardAxis::kRows);
  } else {
    list.Linear(absl::StrCat(prefix, "q_proj"), q_rows, config.hidden_size, ShardAxis::kRows);
  }
  list.Linear(absl::StrCat(prefix, "kv_a_proj_with_mqa"), config.kv_width(), config.hidden_size,
              ShardAxis::kReplicated);
  list.Vector(absl::StrCat(prefix, "kv_a_layernorm.weight"), config.kv_lora_rank);
  list.Linear(absl::StrCat(prefix, "kv_b_proj"),
              config.num_heads * (config.qk_nope_head_dim + config.v_head_dim), config.kv_lora_rank,
              ShardAxis::kRows);
  list.Linear(absl::StrCat(prefix, "o_proj"), config.hidden_size,
              config.num_heads * config.v_head_dim, ShardAxis::kColumns);
}

void ListGatedMlp(const ModelConfig& config, const std::string& prefix, int64_t intermediate,
                  Lister& list) {
  list.Linear(absl::StrCat(prefix, "gate_proj"), intermediate, config.hidden_size,
              ShardAxis::kRows);
  list.Linear(absl::StrCat(prefix, "up_proj"), intermediate, config.hidden_size, ShardAxis::kRows);
  list.Linear(absl::StrCat(prefix, "down_proj"), config.hidden_size, intermediate,
              ShardAxis::kColumns);
}

void ListExperts(const ModelConfig& config, const std::string& layer, Lister& list) {
  list.Matrix(absl::StrCat(layer, "mlp.gate.weight"), config.num_experts, config.hidden_size,
              ShardAxis::kReplicated);
  list.Vector(absl::StrCat(layer, "mlp.gate.e_score_correction_bias"), config.num_experts,
              DataType::kFloat32);
  for (int64_t expert = 0; expert < config.num_experts; ++expert) {
    ListGatedMlp(config, absl::StrCat(layer, "mlp.experts.", expert, "."),
                 config.moe_intermediate_size, list);
  }
  if (config.num_shared_experts > 0) {
    ListGatedMlp(config, absl::StrCat(layer, "mlp.shared_experts."),
                 config.moe_intermediate_size * config.num_shared_experts, list);
  }
}

void ListDecoderLayer(const ModelConfig& config, int64_t index, bool dense, Lister& list) {
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  list.Vector(absl::StrCat(layer, "input_layernorm.weight"), config.hidden_size);
  ListAttention(config, layer, list);
  list.Vector(absl::StrCat(layer, "post_attention_layernorm.weight"), config.hidden_size);
  if (dense) {
    ListGatedMlp(config, absl::StrCat(layer, "mlp."), config.intermediate_size, list);
  } else {
    ListExperts(config, layer, list);
  }
}

void ListEmbedding(const ModelConfig& config, Lister& list) {
  list.Place(WeightPlace::kEmbedding, -1);
  list.Matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size, ShardAxis::kRows);
}

void ListLayers(const ModelConfig& config, int64_t begin, int64_t end, Lister& list) {
  for (int64_t index = begin; index < end; ++index) {
    list.Place(WeightPlace::kLayer, index);
    ListDecoderLayer(config, index, config.is_dense_layer(index), list);
  }
}

void ListOutput(const ModelConfig& config, Lister& list) {
  list.Place(WeightPlace::kFinalNorm, -1);
  list.Vector("model.norm.weight", config.hidden_size);
  if (config.tie_word_embeddings) return;
  list.Place(WeightPlace::kHead, -1);
  list.Matrix("lm_head.weight", config.vocab_size, config.hidden_size, ShardAxis::kRows);
}

// One more decoder layer with experts, fed by the joined embedding and hidden state; embedding and
// head are stored again.
void ListMtpModule(const ModelConfig& config, int64_t index, Lister& list) {
  list.Place(WeightPlace::kMtp, index);
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  list.Matrix(absl::StrCat(layer, "embed_tokens.weight"), config.vocab_size, config.hidden_size,
              ShardAxis::kRows);
  list.Vector(absl::StrCat(layer, "enorm.weight"), config.hidden_size);
  list.Vector(absl::StrCat(layer, "hnorm.weight"), config.hidden_size);
  list.Matrix(absl::StrCat(layer, "eh_proj.weight"), config.hidden_size, 2 * config.hidden_size,
              ShardAxis::kReplicated);
  ListDecoderLayer(config, index, /*dense=*/false, list);
  list.Vector(absl::StrCat(layer, "shared_head.norm.weight"), config.hidden_size);
  list.Matrix(absl::StrCat(layer, "shared_head.head.weight"), config.vocab_size, config.hidden_size,
              ShardAxis::kRows);
}

struct Range {
  int64_t begin;
  int64_t end;
};

// Rank `rank`'s share of `size`, in blocks of `block` when `size` counts what the blocks cover.
Range ShareOf(int64_t size, int64_t block, int rank, int num_ranks) {
  BATON_CHECK(size % num_ranks == 0) << size << " over " << num_ranks << " ranks";
  const int64_t share = size / num_ranks;
  return {rank * share / block, CeilDivide((rank + 1) * share, block)};
}

}  // namespace

std::vector<WeightSpec> CheckpointInventory(const ModelConfig& config) {
  std::vector<WeightSpec> specs;
  Lister list(config, &specs);
  ListEmbedding(config, list);
  ListLayers(config, 0, config.num_layers, list);
  ListOutput(config, list);
  for (int64_t module = 0; module < config.num_mtp_layers; ++module) {
    ListMtpModule(config, config.num_layers + module, list);
  }
  return specs;
}

std::vector<WeightSpec> StageInventory(const ModelConfig& config, const StageShape& stage) {
  BATON_CHECK(stage.layer_begin >= 0 && stage.layer_begin <= stage.layer_end &&
              stage.layer_end <= config.num_layers)
      << "layers " << stage.layer_begin << " to " << stage.layer_end;
  std::vector<WeightSpec> specs;
  Lister list(config, &specs);
  const bool head_is_embedding = stage.has_head && config.tie_word_embeddings;
  if (stage.has_embedding || head_is_embedding) ListEmbedding(config, list);
  ListLayers(config, stage.layer_begin, stage.layer_end, list);
  if (stage.has_head) ListOutput(config, list);
  if (stage.has_mtp) {
    BATON_CHECK(stage.has_head && config.num_mtp_layers > 0) << "no MTP module to draft with";
    ListMtpModule(config, config.num_layers, list);
  }
  return specs;
}

WeightSlice SliceOfRank(const ModelConfig& config, const WeightSpec& spec, int rank,
                        int num_ranks) {
  BATON_CHECK(num_ranks > 0 && rank >= 0 && rank < num_ranks) << rank << " of " << num_ranks;
  const bool is_scale = spec.scaled_rows > 0;
  const int64_t block = is_scale ? config.fp8_block_size : 1;
  WeightSlice slice = {0, spec.rows, 0, spec.columns};
  if (spec.axis == ShardAxis::kRows) {
    const Range rows = ShareOf(is_scale ? spec.scaled_rows : spec.rows, block, rank, num_ranks);
    slice.row_begin = rows.begin;
    slice.row_end = rows.end;
  } else if (spec.axis == ShardAxis::kColumns) {
    const Range columns =
        ShareOf(is_scale ? spec.scaled_columns : spec.columns, block, rank, num_ranks);
    slice.column_begin = columns.begin;
    slice.column_end = columns.end;
  }
  return slice;
}

}  // namespace baton
