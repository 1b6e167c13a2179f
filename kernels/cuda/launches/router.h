// Launches of router.cu: choice of experts, and the order in which grouped products take their
// rows.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>
#include <span>

#include "kernels/api/router.h"

namespace baton::kernels::cuda {

// As kernels/api/router.h says; spans and views are in device memory.
void LaunchSelectExperts(const SelectExpertsArgs& args, cudaStream_t stream);

// The slots [0, experts.size()) by expert, in order within each: those of expert e stand at
// sorted[offsets[e] .. offsets[e + 1]). Slots of an expert below 0 are left out. `offsets`:
// [num_experts + 1]; `sorted`: [experts.size()]. The order is the same every time: nothing here
// races.
void LaunchSortSlots(std::span<const int32_t> experts, int64_t num_experts, int32_t* offsets,
                     int32_t* sorted, cudaStream_t stream);

}  // namespace baton::kernels::cuda
