// The mixture of experts of a layer, with its shared experts.
#pragma once

#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// workspace.summed = moe(workspace.normed), summed over ranks; experts and expert_weights hold the
// choice. Every device computes the whole choice: it is the same everywhere. `layer_index` counts
// in the model, for the tap.
void RunMoe(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
            int64_t layer_index);

}  // namespace baton::stage
