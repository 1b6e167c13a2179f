// Multi-head latent attention of one layer.
#pragma once

#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// workspace.summed = attention(workspace.normed), summed over ranks; writes the rows' latents and
// rotary keys to `cache`. Always in the absorbed form, for prompts and single tokens alike: a row's
// bits do not depend on how its sequence was cut into chunks.
void RunAttention(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
                  const kernels::KvPages& cache);

}  // namespace baton::stage
