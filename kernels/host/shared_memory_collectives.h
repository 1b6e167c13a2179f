// Collectives between devices that are threads of one process.
#pragma once

#include <memory>
#include <vector>

#include "kernels/api/collectives.h"

namespace baton::kernels {

// One end per device of a team of `num_ranks` ranks; device d holds ranks
// [first_ranks[d], first_ranks[d + 1]), the last one up to num_ranks. first_ranks[0] is 0,
// ascending. The ends share their state and may be destroyed in any order, outside calls. A call
// waits for the same call of all other devices: a short spin, then sleep. A team of one device
// never waits.
std::vector<std::unique_ptr<Collectives>> CreateSharedMemoryCollectives(
    int num_ranks, const std::vector<int>& first_ranks);

}  // namespace baton::kernels
