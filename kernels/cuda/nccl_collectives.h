// Sums and gathers over devices that cannot read each other's memory.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "kernels/api/collectives.h"
#include "kernels/cuda/collectives.h"

namespace baton::kernels::cuda {

// One end per device, over NCCL in one process. NCCL only carries bytes; its own sums change their
// order with size and algorithm. Here every element is added up by one device, ranks ascending, and
// handed on: the bits are those of peer_exchange.h. Small sums gather all parts everywhere, large
// ones send each device its share of every part and gather the sums. All of it is stream-ordered
// and can be captured. Errors: FailedPrecondition (no NCCL, devices that it refuses: one device
// twice), ResourceExhausted, Internal.
absl::StatusOr<std::vector<std::unique_ptr<Collectives>>> CreateNcclCollectives(
    int num_ranks, const std::vector<TeamDevice>& devices);

}  // namespace baton::kernels::cuda
