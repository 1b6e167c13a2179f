// Which layers each stage runs, and every size that the stages of a group agree on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "protos/baton/v1/stage.pb.h"

namespace baton::scheduler {

struct GroupShape {
  uint32_t num_stages = 1;
  uint32_t num_ranks = 1;
  v1::DataType compute_type = v1::DATA_TYPE_BFLOAT16;
  uint32_t block_tokens = 64;
  uint32_t max_model_len = 0;
  uint32_t max_step_tokens = 2048;
  uint32_t max_step_sequences = 256;
  uint32_t max_steps_in_flight = 1;
  uint32_t num_blocks_override = 0;  // 0: as many as memory allows
  uint32_t num_speculative_tokens = 0;
  std::string model_fingerprint;
};

// The plan of every stage, in order. InvalidArgument if the model cannot be cut so.
absl::StatusOr<std::vector<v1::StagePlan>> BuildStagePlans(const ModelConfig& model,
                                                           const GroupShape& shape);

}  // namespace baton::scheduler
