#include "services/scheduler/pipeline/stage_plan.h"

#include "common/model/weight_inventory.h"
#include "common/status/status_macros.h"

namespace baton::scheduler {

absl::StatusOr<std::vector<v1::StagePlan>> BuildStagePlans(const ModelConfig& model,
                                                           const GroupShape& shape) {
  RETURN_IF_ERROR(CheckTensorParallelSize(model, static_cast<int>(shape.num_ranks)));
  ASSIGN_OR_RETURN(const std::vector<StageShape> stages,
                   SplitLayers(model, static_cast<int>(shape.num_stages)));
  std::vector<v1::StagePlan> plans;
  for (const StageShape& stage : stages) {
    v1::StagePlan& plan = plans.emplace_back();
    plan.set_stage_index(static_cast<uint32_t>(plans.size() - 1));
    plan.set_num_stages(shape.num_stages);
    plan.set_num_ranks(shape.num_ranks);
    plan.mutable_layers()->set_begin(static_cast<uint32_t>(stage.layer_begin));
    plan.mutable_layers()->set_end(static_cast<uint32_t>(stage.layer_end));
    plan.set_compute_type(shape.compute_type);
    plan.set_block_tokens(shape.block_tokens);
    plan.set_max_model_len(shape.max_model_len);
    plan.set_max_step_tokens(shape.max_step_tokens);
    plan.set_max_step_sequences(shape.max_step_sequences);
    plan.set_max_steps_in_flight(shape.max_steps_in_flight);
    plan.set_model_fingerprint(shape.model_fingerprint);
    plan.set_num_blocks_override(shape.num_blocks_override);
    plan.set_num_speculative_tokens(shape.num_speculative_tokens);
  }
  return plans;
}

}  // namespace baton::scheduler
