// How layers are cut into stages and sizes into ranks.
#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/model/weight_inventory.h"

namespace baton {
namespace {

constexpr int kMaxRanks = 1024;

struct Sharded {
  const char* field;
  int64_t size;
};

std::vector<Sharded> ShardedSizes(const ModelConfig& config) {
  return {{"num_attention_heads", config.num_heads},
          {"intermediate_size", config.intermediate_size},
          {"moe_intermediate_size", config.moe_intermediate_size},
          {"vocab_size", config.vocab_size}};
}

// Every divisor, up to the limit, of all sharded sizes.
std::vector<int64_t> WorkingSizes(const ModelConfig& config) {
  int64_t common = 0;
  for (const Sharded& sharded : ShardedSizes(config)) common = std::gcd(common, sharded.size);
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size <= std::min<int64_t>(common, kMaxRanks); ++size) {
    if (common % size == 0) sizes.push_back(size);
  }
  return sizes;
}

int64_t Bytes(const std::vector<WeightSpec>& specs) {
  int64_t bytes = 0;
  for (const WeightSpec& spec : specs) {
    bytes += spec.rows * spec.columns * static_cast<int64_t>(SizeOf(spec.type));
  }
  return bytes;
}

int64_t StageBytes(const ModelConfig& config, const std::vector<int64_t>& bytes_before,
                   const StageShape& stage) {
  StageShape ends = stage;
  ends.layer_end = ends.layer_begin;
  return bytes_before[static_cast<size_t>(stage.layer_end)] -
         bytes_before[static_cast<size_t>(stage.layer_begin)] + Bytes(StageInventory(config, ends));
}

// bytes_before[i]: bytes of layers [0, i).
std::vector<int64_t> BytesBefore(const ModelConfig& config) {
  const auto layer_bytes = [&config](int64_t layer) {
    return Bytes(StageInventory(config, {layer, layer + 1, false, false}));
  };
  const int64_t dense = config.num_dense_layers > 0 ? layer_bytes(0) : 0;
  const int64_t sparse =
      config.num_dense_layers < config.num_layers ? layer_bytes(config.num_layers - 1) : 0;
  std::vector<int64_t> before(static_cast<size_t>(config.num_layers) + 1, 0);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    before[static_cast<size_t>(layer) + 1] =
        before[static_cast<size_t>(layer)] + (config.is_dense_layer(layer) ? dense : sparse);
  }
  return before;
}

StageShape ShapeOf(int64_t begin, int64_t count, int stage, int num_stages) {
  return {begin, begin + count, stage == 0, stage == num_stages - 1};
}

}  // namespace

absl::Status CheckTensorParallelSize(const ModelConfig& config, int num_ranks) {
  if (num_ranks < 1 || num_ranks > kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor-parallel size is ", num_ranks, "; wanted 1 to ", kMaxRanks));
  }
  for (const Sharded& sharded : ShardedSizes(config)) {
    if (sharded.size % num_ranks == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        sharded.field, " is ", sharded.size, ", which does not divide by the tensor-parallel size ",
        num_ranks, "; sizes that work: ", absl::StrJoin(WorkingSizes(config), ", ")));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StageShape>> SplitLayers(const ModelConfig& config, int num_stages) {
  if (num_stages < 1 || num_stages > config.num_layers) {
    return absl::InvalidArgumentError(absl::StrCat("pipeline-parallel size is ", num_stages,
                                                   "; wanted 1 to ", config.num_layers,
                                                   ", the number of layers"));
  }
  const std::vector<int64_t> before = BytesBefore(config);
  const int64_t base = config.num_layers / num_stages;
  const size_t num_longer = static_cast<size_t>(config.num_layers % num_stages);
  // best[s][k]: least possible heaviest stage among the first s, of which k have one layer more.
  const size_t stages = static_cast<size_t>(num_stages);
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::vector<std::vector<int64_t>> best(stages + 1, std::vector<int64_t>(num_longer + 1, kNone));
  std::vector<std::vector<bool>> longer(stages + 1, std::vector<bool>(num_longer + 1, false));
  best[0][0] = 0;
  for (size_t s = 0; s < stages; ++s) {
    for (size_t k = 0; k <= num_longer; ++k) {
      if (best[s][k] == kNone) continue;
      for (size_t extra = 0; extra <= 1 && k + extra <= num_longer; ++extra) {
        const int64_t begin = static_cast<int64_t>(s) * base + static_cast<int64_t>(k);
        const StageShape shape =
            ShapeOf(begin, base + static_cast<int64_t>(extra), static_cast<int>(s), num_stages);
        const int64_t heaviest = std::max(best[s][k], StageBytes(config, before, shape));
        // On a tie the longer stages come first.
        if (heaviest < best[s + 1][k + extra] ||
            (heaviest == best[s + 1][k + extra] && extra == 0)) {
          best[s + 1][k + extra] = heaviest;
          longer[s + 1][k + extra] = extra == 1;
        }
      }
    }
  }
  std::vector<StageShape> split(stages);
  int64_t end = config.num_layers;
  size_t k = num_longer;
  for (size_t s = stages; s > 0; --s) {
    const int64_t count = base + (longer[s][k] ? 1 : 0);
    split[s - 1] = ShapeOf(end - count, count, static_cast<int>(s - 1), num_stages);
    if (longer[s][k]) --k;
    end -= count;
  }
  return split;
}

}  // namespace baton
