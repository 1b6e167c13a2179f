#include "tools/plan/deployment_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr int kMaxRanksSearched = 64;
constexpr size_t kMaxSuggestions = 3;

uint64_t Bytes(const WeightSlice& slice, DataType type) {
  return static_cast<uint64_t>(slice.num_elements()) * SizeOf(type);
}

// Bytes of each rank's share: shards that cut scale blocks differ a little.
std::vector<uint64_t> RankBytes(const ModelConfig& config, const std::vector<WeightSpec>& specs,
                                int num_ranks) {
  std::vector<uint64_t> bytes(static_cast<size_t>(num_ranks), 0);
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (const WeightSpec& spec : specs) {
      bytes[static_cast<size_t>(rank)] +=
          Bytes(SliceOfRank(config, spec, rank, num_ranks), spec.type);
    }
  }
  return bytes;
}

// What layers weigh on each rank. All dense layers weigh the same, and so do all others.
class LayerBytes {
 public:
  LayerBytes(const ModelConfig& config, int num_ranks) : config_(config), num_ranks_(num_ranks) {
    if (config.num_dense_layers > 0) dense_ = OfLayer(0);
    if (config.num_dense_layers < config.num_layers) sparse_ = OfLayer(config.num_layers - 1);
  }

  // Of the rank of the stage that holds the most.
  uint64_t HeaviestRank(const StageShape& shape) const {
    const StageShape ends = {shape.layer_begin, shape.layer_begin, shape.has_embedding,
                             shape.has_head, shape.has_mtp};
    std::vector<uint64_t> bytes = RankBytes(config_, StageInventory(config_, ends), num_ranks_);
    for (size_t rank = 0; rank < bytes.size(); ++rank) {
      for (int64_t layer = shape.layer_begin; layer < shape.layer_end; ++layer) {
        bytes[rank] += (config_.is_dense_layer(layer) ? dense_ : sparse_)[rank];
      }
    }
    return *std::max_element(bytes.begin(), bytes.end());
  }

 private:
  std::vector<uint64_t> OfLayer(int64_t layer) const {
    return RankBytes(config_, StageInventory(config_, {layer, layer + 1, false, false}),
                     num_ranks_);
  }

  const ModelConfig& config_;
  const int num_ranks_;
  std::vector<uint64_t> dense_;
  std::vector<uint64_t> sparse_;
};

StagePlan PlanStage(const ModelConfig& config, const PlanOptions& options,
                    const LayerBytes& layer_bytes, uint64_t usable_bytes, const StageShape& shape) {
  StagePlan stage;
  stage.shape = shape;
  stage.weight_bytes = layer_bytes.HeaviestRank(shape);
  const uint64_t layers = static_cast<uint64_t>(shape.num_cached_layers());
  const int64_t rank_heads = config.num_heads / options.num_ranks;
  stage.derived_bytes = layers * SizeOf(DataType::kBFloat16) *
                        static_cast<uint64_t>(rank_heads * config.kv_lora_rank *
                                              (config.qk_nope_head_dim + config.v_head_dim));
  stage.kv_bytes_per_token =
      layers * static_cast<uint64_t>(config.kv_width()) * SizeOf(options.compute_type);
  const uint64_t taken = stage.weight_bytes + stage.derived_bytes + options.workspace_bytes;
  if (taken < usable_bytes) {
    const int64_t tokens = static_cast<int64_t>((usable_bytes - taken) / stage.kv_bytes_per_token);
    stage.kv_tokens = tokens / kPlanBlockTokens * kPlanBlockTokens;
  }
  return stage;
}

// The stage with the least room; of those with none, the heaviest.
const StagePlan& Tightest(const DeploymentPlan& plan) {
  return *std::min_element(plan.stages.begin(), plan.stages.end(),
                           [](const StagePlan& a, const StagePlan& b) {
                             if (a.kv_tokens != b.kv_tokens) return a.kv_tokens < b.kv_tokens;
                             return a.weight_bytes > b.weight_bytes;
                           });
}

uint64_t MtpBytes(const ModelConfig& config, int num_ranks) {
  if (config.num_mtp_layers == 0) return 0;
  std::vector<WeightSpec> specs =
      StageInventory(config, {.layer_begin = 0, .layer_end = 0, .has_head = true, .has_mtp = true});
  std::erase_if(specs, [](const WeightSpec& spec) { return spec.place != WeightPlace::kMtp; });
  const std::vector<uint64_t> bytes = RankBytes(config, specs, num_ranks);
  return *std::max_element(bytes.begin(), bytes.end());
}

absl::Status CheckOptions(const ModelConfig& config, const PlanOptions& options) {
  if (!(options.memory_utilization > 0.0 && options.memory_utilization <= 1.0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "gpu-memory-utilization is ", options.memory_utilization, "; wanted above 0 to 1"));
  }
  if (options.max_model_len < 0 || options.max_model_len > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("max-model-len is ", options.max_model_len,
                                                   "; this model has at most ",
                                                   config.max_positions));
  }
  if (options.speculates && config.num_mtp_layers == 0) {
    return absl::InvalidArgumentError("the model has no MTP module to speculate with");
  }
  return CheckTensorParallelSize(config, options.num_ranks);
}

absl::StatusOr<DeploymentPlan> Compute(const ModelConfig& config, const PlanOptions& options) {
  RETURN_IF_ERROR(CheckOptions(config, options));
  ASSIGN_OR_RETURN(const std::vector<StageShape> split, SplitLayers(config, options.num_stages));
  DeploymentPlan plan;
  plan.options = options;
  if (plan.options.max_model_len == 0) plan.options.max_model_len = config.max_positions;
  plan.usable_bytes =
      static_cast<uint64_t>(static_cast<double>(options.memory_bytes) * options.memory_utilization);
  const LayerBytes layer_bytes(config, options.num_ranks);
  for (StageShape shape : split) {
    shape.has_mtp = options.speculates && shape.has_head;
    plan.stages.push_back(PlanStage(config, options, layer_bytes, plan.usable_bytes, shape));
    plan.kv_bytes_per_token += plan.stages.back().kv_bytes_per_token;
  }
  plan.kv_tokens = Tightest(plan).kv_tokens;
  return plan;
}

bool Works(const DeploymentPlan& plan) {
  return plan.kv_tokens > 0 && plan.kv_tokens >= plan.options.max_model_len;
}

// The smallest groups, by number of ranks, on which the model works with this memory.
std::vector<std::string> SmallestGroups(const ModelConfig& config, const PlanOptions& options) {
  std::vector<std::string> found;
  for (int total = 1; total <= kMaxRanksSearched && found.empty(); ++total) {
    for (int num_ranks = total; num_ranks >= 1; --num_ranks) {
      if (total % num_ranks != 0) continue;
      PlanOptions other = options;
      other.num_ranks = num_ranks;
      other.num_stages = total / num_ranks;
      const auto plan = Compute(config, other);
      if (!plan.ok() || !Works(*plan) || found.size() == kMaxSuggestions) continue;
      found.push_back(absl::StrCat("--pipeline-parallel-size ", other.num_stages,
                                   " --tensor-parallel-size ", other.num_ranks));
    }
  }
  return found;
}

std::string Gigabytes(uint64_t bytes) {
  return absl::StrFormat("%.1f GB", static_cast<double>(bytes) / 1e9);
}

std::string Obstacle(const ModelConfig& config, const DeploymentPlan& plan) {
  const PlanOptions& options = plan.options;
  const StagePlan& tightest = Tightest(plan);
  const auto index = &tightest - plan.stages.data();
  const uint64_t fixed = tightest.weight_bytes + tightest.derived_bytes + options.workspace_bytes;
  const uint64_t cache = static_cast<uint64_t>(options.max_model_len) * tightest.kv_bytes_per_token;
  const double needed = static_cast<double>(fixed + cache) / options.memory_utilization;
  std::vector<std::string> ways = SmallestGroups(config, options);
  if (plan.kv_tokens > 0) ways.push_back(absl::StrCat("--max-model-len ", plan.kv_tokens));
  ways.push_back(absl::StrFormat("%.1f GB per rank", needed / 1e9));
  const std::string lead =
      plan.kv_tokens == 0
          ? absl::StrCat("the weights do not fit: stage ", index, " needs ", Gigabytes(fixed),
                         " on each rank")
          : absl::StrCat("one sequence of ", options.max_model_len, " tokens does not fit: stage ",
                         index, " has room for ", plan.kv_tokens);
  return absl::StrCat(lead, "; ", Gigabytes(plan.usable_bytes),
                      " may be used. What would work: ", absl::StrJoin(ways, ", or "));
}

}  // namespace

absl::StatusOr<DeploymentPlan> PlanDeployment(const ModelConfig& config,
                                              const PlanOptions& options) {
  ASSIGN_OR_RETURN(DeploymentPlan plan, Compute(config, options));
  plan.mtp_bytes = MtpBytes(config, options.num_ranks);
  if (!Works(plan)) plan.obstacle = Obstacle(config, plan);
  return plan;
}

}  // namespace baton
