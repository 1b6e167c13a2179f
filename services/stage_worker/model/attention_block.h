// Multi-head latent attention of one layer.
#pragma once

#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// workspace.summed = attention(workspace.normed), summed over ranks; writes the rows' latents and
// rotary keys to `cache`. Rows that the step says so of in the expanded form, which is faster for
// prompts, all others in the absorbed form. Which, depends on a row's position and the length of
// its prompt alone, so its bits do not depend on how its sequence was cut into chunks.
void RunAttention(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
                  const kernels::KvPages& cache);

}  // namespace baton::stage
