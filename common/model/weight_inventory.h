// Every tensor that a checkpoint of this architecture must hold, with shape, type and how tensor
// parallelism cuts it: the one list that the loader, the stage-worker and `baton plan` share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/tensor/data_type.h"

namespace baton {

enum class ShardAxis { kReplicated, kRows, kColumns };

// Where in the model a tensor belongs.
enum class WeightPlace { kEmbedding, kLayer, kFinalNorm, kHead, kMtp };

// One tensor of the checkpoint. Scales of FP8 weights are entries of their own.
struct WeightSpec {
  std::string name;  // published: "model.layers.3.mlp.experts.7.down_proj.weight"
  DataType type = DataType::kBFloat16;
  int64_t rows = 1;  // 1 for a vector
  int64_t columns = 0;
  int num_dimensions = 2;  // 1 or 2 in the checkpoint
  ShardAxis axis = ShardAxis::kReplicated;
  WeightPlace place = WeightPlace::kLayer;
  int64_t layer = -1;  // for kLayer and kMtp
  // For "...weight_scale_inv": rows and columns of the weight that it scales; else 0. Its slices
  // follow the weight's.
  int64_t scaled_rows = 0;
  int64_t scaled_columns = 0;
};

// Part of a tensor: rows [row_begin, row_end) x columns [column_begin, column_end).
struct WeightSlice {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t column_begin = 0;
  int64_t column_end = 0;

  int64_t num_elements() const { return (row_end - row_begin) * (column_end - column_begin); }
};

// Layers of one pipeline stage and what else it holds.
struct StageShape {
  int64_t layer_begin = 0;
  int64_t layer_end = 0;
  bool has_embedding = false;
  bool has_head = false;  // final norm and lm_head (the embedding table again when tied)
  bool has_mtp = false;   // the first MTP module, which drafts; only with the head

  int64_t num_layers() const { return layer_end - layer_begin; }
  // Layers that keep a KV cache: the MTP module is one more, behind the others.
  int64_t num_cached_layers() const { return num_layers() + (has_mtp ? 1 : 0); }
};

// All tensors of the checkpoint, in layer order: embedding, layers, norm, head, MTP modules.
std::vector<WeightSpec> CheckpointInventory(const ModelConfig& config);

// Those that a stage holds.
std::vector<WeightSpec> StageInventory(const ModelConfig& config, const StageShape& stage);

// The part of `spec` that `rank` of `num_ranks` holds. A scale's slice covers every block that the
// weight's slice touches. Requires CheckTensorParallelSize.
WeightSlice SliceOfRank(const ModelConfig& config, const WeightSpec& spec, int rank, int num_ranks);

// InvalidArgument, naming the size and what would work, unless heads, intermediate sizes and
// vocabulary divide by `num_ranks`.
absl::Status CheckTensorParallelSize(const ModelConfig& config, int num_ranks);

// Layers of each of `num_stages` stages. Counts differ by at most one, since KV cache and most of
// the work come by the layer; of those splits, the one whose heaviest stage (embedding and head
// counted) has the fewest weight bytes, longer stages first on a tie. InvalidArgument if there are
// more stages than layers.
absl::StatusOr<std::vector<StageShape>> SplitLayers(const ModelConfig& config, int num_stages);

}  // namespace baton
