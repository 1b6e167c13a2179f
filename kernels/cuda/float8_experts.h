// Gated feed-forward networks with FP8 weights on Hopper's instructions: a mixture of experts, or
// one network that takes every token.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/experts.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/weight_tables.h"

namespace baton::kernels::cuda {

// Whether the layer can run so: bfloat16 x, whole scale blocks of 128 x 128, hidden and
// intermediate widths multiples of 128, the shared expert as wide as a routed one, rows where the
// kernels can read and write them. Without routed experts `shared` is the whole layer.
bool TakesFloat8Experts(const ExpertsArgs& args);

// Quantises x once (quantise.h), then the grouped products (expert_gemm.h), at most
// kExpertStepTokens tokens at a time. A row's result depends on the row and its experts alone.
void LaunchFloat8Experts(const ExpertsArgs& args, WeightTables& tables, PinnedRing& ring,
                         DeviceScratch& scratch, cudaStream_t stream);

}  // namespace baton::kernels::cuda
