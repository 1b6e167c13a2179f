// MlaAttention on Hopper's instructions, for the widths that mla_attention.h takes.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/attention.h"
#include "kernels/cuda/launches/device_memory.h"

namespace baton::kernels::cuda {

bool TakesLatentAttention(const MlaAttentionArgs& args);

// Chooses between splits side by side and one after the other by the rows and the longest block
// table alone; the bits are the same.
void LaunchLatentAttention(const MlaAttentionArgs& args, int multiprocessors,
                           DeviceScratch& scratch, cudaStream_t stream);

}  // namespace baton::kernels::cuda
