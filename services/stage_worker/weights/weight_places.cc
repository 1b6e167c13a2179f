#include "services/stage_worker/weights/weight_places.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"
#include "common/model/weight_inventory.h"

namespace baton::stage {
namespace {

class PlaceList {
 public:
  explicit PlaceList(const WeightStoreOptions& options) : options_(options) {
    for (WeightSpec& spec : StageInventory(options.config, options.stage)) {
      std::string name = spec.name;
      specs_.emplace(std::move(name), std::move(spec));
    }
  }

  // `rank` counts from the device's first; 0 for what ranks share.
  void AddPacked(std::string name, PackedPtr& packed, int rank = 0) {
    Add(std::move(name), rank).packed = &packed;
  }
  void AddTable(std::string name, TensorView& table, int rank) {
    Add(std::move(name), rank).table = &table;
  }
  // Float32, whatever the checkpoint has.
  void AddVector(std::string name, TensorView& table) {
    NamedPlace& place = Add(std::move(name), 0);
    place.type = DataType::kFloat32;
    place.table = &table;
  }

  void AddLayer(int64_t index, LayerWeights& layer) {
    const std::string prefix = absl::StrCat("model.layers.", index, ".");
    AddVector(prefix + "input_layernorm.weight", layer.input_norm);
    AddPacked(prefix + "self_attn.q_a_proj.weight", layer.q_a);
    AddVector(prefix + "self_attn.q_a_layernorm.weight", layer.q_a_norm);
    AddPacked(prefix + "self_attn.kv_a_proj_with_mqa.weight", layer.kv_a);
    AddVector(prefix + "self_attn.kv_a_layernorm.weight", layer.kv_a_norm);
    AddVector(prefix + "post_attention_layernorm.weight", layer.post_attention_norm);
    AddPacked(prefix + "mlp.gate.weight", layer.router);
    AddVector(prefix + "mlp.gate.e_score_correction_bias", layer.router_bias);
    for (size_t rank = 0; rank < layer.ranks.size(); ++rank) {
      AddShard(prefix, layer.ranks[rank], static_cast<int>(rank));
    }
  }

  std::vector<NamedPlace> Take() { return std::move(places_); }

 private:
  NamedPlace& Add(std::string name, int rank) {
    NamedPlace& place = places_.emplace_back();
    const auto spec = specs_.find(name);
    place.name = std::move(name);
    if (spec == specs_.end()) return place;
    const WeightSlice slice =
        SliceOfRank(options_.config, spec->second, options_.first_rank + rank, options_.num_ranks);
    place.rows = slice.row_end - slice.row_begin;
    place.columns = slice.column_end - slice.column_begin;
    place.type = spec->second.type;
    return place;
  }

  void AddShard(const std::string& prefix, LayerShard& shard, int rank) {
    AddAttention(prefix + "self_attn.", shard.attention, rank);
    AddFeedForward(prefix + "mlp.", shard.dense, rank);
    for (size_t i = 0; i < shard.experts.size(); ++i) {
      AddFeedForward(absl::StrCat(prefix, "mlp.experts.", i, "."), shard.experts[i], rank);
    }
    AddFeedForward(prefix + "mlp.shared_experts.", shard.shared, rank);
  }

  void AddAttention(const std::string& prefix, AttentionShard& shard, int rank) {
    const ModelConfig& config = options_.config;
    AddPacked(prefix + (config.q_lora_rank > 0 ? "q_b_proj.weight" : "q_proj.weight"), shard.q,
              rank);
    const int64_t latent = config.kv_lora_rank;
    AddHeads(prefix, "w_uk", {latent, config.qk_nope_head_dim}, shard.w_uk);
    AddHeads(prefix, "w_uv", {config.v_head_dim, latent}, shard.w_uv);
    AddHeads(prefix, "w_k", {config.qk_nope_head_dim, latent}, shard.w_k);
    AddPacked(prefix + "o_proj.weight", shard.o, rank);
  }

  // Parts of kv_b_proj, which is taken apart and packed anew.
  void AddHeads(const std::string& prefix, absl::string_view part,
                std::pair<int64_t, int64_t> shape, std::vector<PackedPtr>& heads) {
    const std::string tensor = prefix + "kv_b_proj.weight";
    const auto spec = specs_.find(tensor);
    for (size_t head = 0; head < heads.size(); ++head) {
      NamedPlace& place = places_.emplace_back();
      place.name = absl::StrCat(tensor, ", ", part, " of head ", head);
      place.packed = &heads[head];
      if (spec == specs_.end()) continue;
      place.rows = shape.first;
      place.columns = shape.second;
      place.type = spec->second.type;
    }
  }

  void AddFeedForward(const std::string& prefix, FeedForwardShard& shard, int rank) {
    AddPacked(prefix + "gate_proj.weight", shard.gate, rank);
    AddPacked(prefix + "up_proj.weight", shard.up, rank);
    AddPacked(prefix + "down_proj.weight", shard.down, rank);
  }

  const WeightStoreOptions& options_;
  absl::flat_hash_map<std::string, WeightSpec> specs_;
  std::vector<NamedPlace> places_;
};

void SetBorrowsOf(const std::vector<PackedPtr>& owned,
                  std::vector<const kernels::PackedWeight*>& borrows) {
  borrows.clear();
  for (const PackedPtr& weight : owned) borrows.push_back(weight.get());
}

void SetBorrowsOf(LayerWeights& layer) {
  for (LayerShard& shard : layer.ranks) {
    SetBorrowsOf(shard.attention.w_uk, shard.attention.w_uk_heads);
    SetBorrowsOf(shard.attention.w_uv, shard.attention.w_uv_heads);
    SetBorrowsOf(shard.attention.w_k, shard.attention.w_k_heads);
    for (size_t i = 0; i < shard.experts.size(); ++i) {
      shard.expert_views[i] = shard.experts[i].view();
    }
  }
}

}  // namespace

std::vector<NamedPlace> PlacesOf(StageWeights& weights, const WeightStoreOptions& options) {
  PlaceList list(options);
  const auto rank_of = [](size_t index) { return static_cast<int>(index); };
  for (size_t i = 0; i < weights.embedding.size(); ++i) {
    list.AddTable("model.embed_tokens.weight", weights.embedding[i], rank_of(i));
  }
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    list.AddLayer(options.stage.layer_begin + static_cast<int64_t>(i), weights.layers[i]);
  }
  if (options.stage.has_head) list.AddVector("model.norm.weight", weights.final_norm);
  const std::string head =
      options.config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  for (size_t i = 0; i < weights.head.size(); ++i) {
    list.AddPacked(head, weights.head[i], rank_of(i));
  }
  if (weights.mtp == nullptr) return list.Take();
  MtpWeights& mtp = *weights.mtp;
  const std::string prefix = absl::StrCat("model.layers.", options.config.num_layers, ".");
  for (size_t i = 0; i < mtp.embedding.size(); ++i) {
    list.AddTable(prefix + "embed_tokens.weight", mtp.embedding[i], rank_of(i));
  }
  list.AddVector(prefix + "enorm.weight", mtp.embedding_norm);
  list.AddVector(prefix + "hnorm.weight", mtp.hidden_norm);
  list.AddPacked(prefix + "eh_proj.weight", mtp.join);
  list.AddLayer(options.config.num_layers, mtp.layer);
  list.AddVector(prefix + "shared_head.norm.weight", mtp.head_norm);
  for (size_t i = 0; i < mtp.head.size(); ++i) {
    list.AddPacked(prefix + "shared_head.head.weight", mtp.head[i], rank_of(i));
  }
  return list.Take();
}

std::string DigestOf(const std::vector<NamedPlace>& places) {
  std::string facts;
  for (const NamedPlace& place : places) {
    absl::StrAppend(&facts, place.name, " ", place.rows, " x ", place.columns, " ",
                    Name(place.type), place.packed != nullptr ? " packed\n" : " table\n");
  }
  const Sha256Digest digest = Sha256(facts);
  return absl::BytesToHexString(AsBytes(digest));
}

void SetBorrows(StageWeights& weights) {
  for (LayerWeights& layer : weights.layers) SetBorrowsOf(layer);
  if (weights.mtp != nullptr) SetBorrowsOf(weights.mtp->layer);
}

}  // namespace baton::stage
