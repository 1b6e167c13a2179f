// Sample and ScoreTokens of one device: the host's part around the launches of sampling.h.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/sampling.h"
#include "kernels/cuda/launches/device_memory.h"

namespace baton::kernels::cuda {

// Both return when the results stand; logits and scratch are in device memory.
void DrawTokens(const SampleArgs& args, DeviceScratch& scratch, PinnedRing& ring,
                cudaStream_t stream);
void ScoreTargets(const ScoreTokensArgs& args, DeviceScratch& scratch, PinnedRing& ring,
                  cudaStream_t stream);

}  // namespace baton::kernels::cuda
