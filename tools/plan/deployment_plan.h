// What a model needs on a group of ranks: layers, weights and KV cache per stage, from config.json
// alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/data_type.h"

namespace baton {

struct PlanOptions {
  int num_stages = 1;                           // --pipeline-parallel-size
  int num_ranks = 1;                            // --tensor-parallel-size
  uint64_t memory_bytes = 96'000'000'000;       // of one rank
  double memory_utilization = 0.92;             // part of it that may be used
  uint64_t workspace_bytes = 3'000'000'000;     // activations and buffers of one rank
  DataType compute_type = DataType::kBFloat16;  // also of the KV cache
  int64_t max_model_len = 0;                    // 0: what config.json allows
  bool speculates = false;                      // the last stage has the MTP module
};

struct StagePlan {
  StageShape shape;
  uint64_t weight_bytes = 0;        // of its heaviest rank, as stored in the checkpoint
  uint64_t derived_bytes = 0;       // of a rank: kv_b widened to bfloat16 for decoding
  uint64_t kv_bytes_per_token = 0;  // on every rank
  int64_t kv_tokens = 0;            // that fit; 0 if the weights alone do not
};

struct DeploymentPlan {
  PlanOptions options;
  uint64_t usable_bytes = 0;  // of one rank
  std::vector<StagePlan> stages;
  uint64_t kv_bytes_per_token = 0;  // all stages, one rank of each
  int64_t kv_tokens = 0;            // of the stage with the fewest, in whole blocks
  // Of the MTP module's weights on the heaviest rank: in the last stage's, or left out of them.
  uint64_t mtp_bytes = 0;
  // Empty if the plan works; else why not, and what would.
  std::string obstacle;
};

// Tokens of one KV block.
inline constexpr int64_t kPlanBlockTokens = 64;

// Errors: InvalidArgument as CheckTensorParallelSize and SplitLayers, or for an option out of
// range; a model that does not fit is no error but an `obstacle`.
absl::StatusOr<DeploymentPlan> PlanDeployment(const ModelConfig& config,
                                              const PlanOptions& options);

}  // namespace baton
