// How ranks spread over devices.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

namespace baton::kernels {

// First rank of each device: contiguous runs whose lengths differ by at most one, longer ones
// first. InvalidArgument unless 1 <= num_devices <= num_ranks.
absl::StatusOr<std::vector<int>> SplitRanks(int num_ranks, int num_devices);

}  // namespace baton::kernels
