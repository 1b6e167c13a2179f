// The gated feed-forward network of a dense layer.
#pragma once

#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// workspace.summed = mlp(workspace.normed), summed over ranks.
void RunMlp(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer);

}  // namespace baton::stage
