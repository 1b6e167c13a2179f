#include "services/stage_worker/weights/weight_builder.h"

#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "common/status/status_macros.h"
#include "common/tensor/bfloat16.h"
#include "services/stage_worker/weights/kv_b_split.h"

namespace baton::stage {
namespace {

absl::Status NoPlace(const ReceivedTensor& tensor) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", tensor.spec->name, " has no place in this stage"));
}

// Takes "12." off the front of `name`.
bool ConsumeIndex(absl::string_view* name, int64_t* index) {
  const size_t dot = name->find('.');
  if (dot == absl::string_view::npos) return false;
  if (!absl::SimpleAtoi(name->substr(0, dot), index)) return false;
  name->remove_prefix(dot + 1);
  return true;
}

}  // namespace

WeightBuilder::WeightBuilder(const WeightStoreOptions& options, kernels::Ops* ops)
    : options_(options), ops_(ops) {
  const size_t num_ranks = static_cast<size_t>(options.num_local_ranks);
  weights_.embedding.resize(options.stage.has_embedding ? num_ranks : 0);
  weights_.head.resize(options.stage.has_head ? num_ranks : 0);
  const StageShape& stage = options.stage;
  weights_.layers.resize(static_cast<size_t>(stage.num_layers()));
  for (int64_t i = stage.layer_begin; i < stage.layer_end; ++i) {
    MakeLayer(options.config.is_dense_layer(i),
              weights_.layers[static_cast<size_t>(i - stage.layer_begin)]);
  }
  if (!stage.has_mtp) return;
  weights_.mtp = std::make_unique<MtpWeights>();
  weights_.mtp->embedding.resize(num_ranks);
  weights_.mtp->head.resize(num_ranks);
  MakeLayer(/*dense=*/false, weights_.mtp->layer);
}

void WeightBuilder::MakeLayer(bool dense, LayerWeights& layer) const {
  layer.ranks.resize(static_cast<size_t>(options_.num_local_ranks));
  const auto num_heads = static_cast<size_t>(options_.config.num_heads / options_.num_ranks);
  for (LayerShard& shard : layer.ranks) {
    AttentionShard& attention = shard.attention;
    for (auto* heads : {&attention.w_uk, &attention.w_uv}) heads->resize(num_heads);
    for (auto* heads : {&attention.w_uk_heads, &attention.w_uv_heads}) heads->resize(num_heads);
    if (!options_.expand_prompts) continue;
    attention.w_k.resize(num_heads);
    attention.w_k_heads.resize(num_heads);
  }
  if (dense) return;
  for (LayerShard& shard : layer.ranks) {
    shard.experts.resize(static_cast<size_t>(options_.config.num_experts));
    shard.expert_views.resize(shard.experts.size());
  }
}

int64_t WeightBuilder::BandRows(const WeightSpec& spec) const {
  // The tables of the vocabulary: large, and neither scaled nor taken apart.
  const bool is_table =
      absl::EndsWith(spec.name, "embed_tokens.weight") || absl::EndsWith(spec.name, "head.weight");
  return is_table && spec.type != DataType::kFloat8E4M3 ? ops_->band_rows() : 0;
}

absl::Status WeightBuilder::Install(const ReceivedTensor& tensor) {
  absl::string_view name = tensor.spec->name;
  if (name == "model.embed_tokens.weight") return InstallEmbedding(tensor);
  if (name == "model.norm.weight") return InstallVector(tensor, weights_.final_norm);
  if (name == "lm_head.weight" && options_.stage.has_head) {
    return InstallPacked(tensor, weights_.head[static_cast<size_t>(tensor.local_rank)]);
  }
  int64_t layer = 0;
  if (!absl::ConsumePrefix(&name, "model.layers.") || !ConsumeIndex(&name, &layer)) {
    return NoPlace(tensor);
  }
  if (weights_.mtp != nullptr && layer == options_.config.num_layers) {
    return InstallInMtp(tensor, name, *weights_.mtp);
  }
  if (layer < options_.stage.layer_begin || layer >= options_.stage.layer_end) {
    return NoPlace(tensor);
  }
  return InstallInLayer(tensor, name,
                        weights_.layers[static_cast<size_t>(layer - options_.stage.layer_begin)]);
}

absl::Status WeightBuilder::InstallInMtp(const ReceivedTensor& tensor, absl::string_view name,
                                         MtpWeights& mtp) {
  const auto rank = static_cast<size_t>(tensor.local_rank);
  if (name == "embed_tokens.weight") return InstallTable(tensor, mtp.embedding[rank]);
  if (name == "enorm.weight") return InstallVector(tensor, mtp.embedding_norm);
  if (name == "hnorm.weight") return InstallVector(tensor, mtp.hidden_norm);
  if (name == "eh_proj.weight") return InstallPacked(tensor, mtp.join);
  if (name == "shared_head.norm.weight") return InstallVector(tensor, mtp.head_norm);
  if (name == "shared_head.head.weight") return InstallPacked(tensor, mtp.head[rank]);
  return InstallInLayer(tensor, name, mtp.layer);
}

absl::Status WeightBuilder::InstallInLayer(const ReceivedTensor& tensor, absl::string_view name,
                                           LayerWeights& layer) {
  if (name == "input_layernorm.weight") return InstallVector(tensor, layer.input_norm);
  if (name == "post_attention_layernorm.weight") {
    return InstallVector(tensor, layer.post_attention_norm);
  }
  if (name == "self_attn.q_a_layernorm.weight") return InstallVector(tensor, layer.q_a_norm);
  if (name == "self_attn.kv_a_layernorm.weight") return InstallVector(tensor, layer.kv_a_norm);
  if (name == "self_attn.q_a_proj.weight") return InstallPacked(tensor, layer.q_a);
  if (name == "self_attn.kv_a_proj_with_mqa.weight") return InstallPacked(tensor, layer.kv_a);
  if (name == "mlp.gate.weight") return InstallPacked(tensor, layer.router);
  if (name == "mlp.gate.e_score_correction_bias") return InstallVector(tensor, layer.router_bias);
  return InstallShard(tensor, name, layer.ranks[static_cast<size_t>(tensor.local_rank)]);
}

absl::Status WeightBuilder::InstallShard(const ReceivedTensor& tensor, absl::string_view name,
                                         LayerShard& shard) {
  if (name == "self_attn.q_b_proj.weight" || name == "self_attn.q_proj.weight") {
    return InstallPacked(tensor, shard.attention.q);
  }
  if (name == "self_attn.kv_b_proj.weight") return InstallKvB(tensor, shard.attention);
  if (name == "self_attn.o_proj.weight") return InstallPacked(tensor, shard.attention.o);
  if (!absl::ConsumePrefix(&name, "mlp.")) return NoPlace(tensor);
  if (absl::ConsumePrefix(&name, "experts.")) return InstallExpert(tensor, name, shard);
  if (absl::ConsumePrefix(&name, "shared_experts.")) {
    return InstallFeedForward(tensor, name, shard.shared);
  }
  return InstallFeedForward(tensor, name, shard.dense);
}

absl::Status WeightBuilder::InstallExpert(const ReceivedTensor& tensor, absl::string_view name,
                                          LayerShard& shard) {
  int64_t index = 0;
  if (!ConsumeIndex(&name, &index) || index < 0 ||
      index >= static_cast<int64_t>(shard.experts.size())) {
    return NoPlace(tensor);
  }
  FeedForwardShard& expert = shard.experts[static_cast<size_t>(index)];
  RETURN_IF_ERROR(InstallFeedForward(tensor, name, expert));
  shard.expert_views[static_cast<size_t>(index)] = expert.view();
  return absl::OkStatus();
}

absl::Status WeightBuilder::InstallFeedForward(const ReceivedTensor& tensor, absl::string_view name,
                                               FeedForwardShard& shard) {
  if (name == "gate_proj.weight") return InstallPacked(tensor, shard.gate);
  if (name == "up_proj.weight") return InstallPacked(tensor, shard.up);
  if (name == "down_proj.weight") return InstallPacked(tensor, shard.down);
  return NoPlace(tensor);
}

absl::Status WeightBuilder::InstallEmbedding(const ReceivedTensor& tensor) {
  const size_t rank = static_cast<size_t>(tensor.local_rank);
  if (options_.stage.has_embedding) {
    RETURN_IF_ERROR(InstallTable(tensor, weights_.embedding[rank]));
  }
  if (options_.stage.has_head && options_.config.tie_word_embeddings) {
    return InstallPacked(tensor, weights_.head[rank]);
  }
  return absl::OkStatus();
}

absl::Status WeightBuilder::InstallTable(const ReceivedTensor& tensor, TensorView& place) {
  const TensorView& values = tensor.matrix.values;
  const size_t row_bytes = static_cast<size_t>(values.columns) * SizeOf(values.type);
  if (place.data == nullptr) {
    const size_t bytes = static_cast<size_t>(tensor.shard_rows) * row_bytes;
    ASSIGN_OR_RETURN(void* table, Allocate(bytes));
    place = {table, values.type, tensor.shard_rows, values.columns, values.columns};
  }
  ops_->CopyToDevice(place.Rows(tensor.first_row, values.rows).data, values.data,
                     static_cast<size_t>(values.rows) * row_bytes);
  return absl::OkStatus();
}

absl::Status WeightBuilder::InstallVector(const ReceivedTensor& tensor, TensorView& place) {
  const TensorView& values = tensor.matrix.values;
  std::vector<float> widened(static_cast<size_t>(values.columns));
  for (int64_t i = 0; i < values.columns; ++i) {
    widened[static_cast<size_t>(i)] = values.type == DataType::kFloat32
                                          ? values.Row<float>(0)[i]
                                          : ToFloat(values.Row<BFloat16>(0)[i]);
  }
  ASSIGN_OR_RETURN(void* data, CopyToDevice(widened.data(), widened.size() * sizeof(float)));
  place = View(static_cast<float*>(data), 1, values.columns);
  return absl::OkStatus();
}

absl::Status WeightBuilder::InstallPacked(const ReceivedTensor& tensor, PackedPtr& place) {
  if (!tensor.is_band()) {
    place = Pack(tensor.matrix);
    return absl::OkStatus();
  }
  const size_t before = place == nullptr ? 0 : place->bytes();
  ops_->PackBand({tensor.matrix.values, tensor.first_row, tensor.shard_rows}, options_.compute_type,
                 place);
  resident_bytes_ = resident_bytes_ - before + place->bytes();
  return absl::OkStatus();
}

absl::Status WeightBuilder::InstallKvB(const ReceivedTensor& tensor, AttentionShard& shard) {
  const ModelConfig& config = options_.config;
  const KvBDims dims{config.num_heads / options_.num_ranks, config.qk_nope_head_dim,
                     config.v_head_dim, config.kv_lora_rank};
  for (int64_t head = 0; head < dims.num_heads; ++head) {
    const KvBHead parts = SplitKvB(tensor.matrix, dims, head, options_.compute_type);
    const auto i = static_cast<size_t>(head);
    shard.w_uk[i] = Pack({.values = parts.w_uk});
    shard.w_uv[i] = Pack({.values = parts.w_uv});
    shard.w_uk_heads[i] = shard.w_uk[i].get();
    shard.w_uv_heads[i] = shard.w_uv[i].get();
    if (!options_.expand_prompts) continue;
    shard.w_k[i] = Pack({.values = parts.w_k});
    shard.w_k_heads[i] = shard.w_k[i].get();
  }
  return absl::OkStatus();
}

PackedPtr WeightBuilder::Pack(const kernels::WeightMatrix& matrix) {
  PackedPtr packed = ops_->Pack(matrix, options_.compute_type);
  resident_bytes_ += packed->bytes();
  return packed;
}

absl::StatusOr<void*> WeightBuilder::CopyToDevice(const void* bytes, size_t num_bytes) {
  ASSIGN_OR_RETURN(void* memory, Allocate(num_bytes));
  ops_->CopyToDevice(memory, bytes, num_bytes);
  return memory;
}

absl::StatusOr<void*> WeightBuilder::Allocate(size_t num_bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<kernels::DeviceBuffer> buffer, ops_->Allocate(num_bytes));
  resident_bytes_ += buffer->bytes();
  buffers_.push_back(std::move(buffer));
  return buffers_.back()->data();
}

}  // namespace baton::stage
