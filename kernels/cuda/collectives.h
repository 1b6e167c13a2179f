// Sums and gathers over the ranks of a team whose devices are in one process.
#pragma once

#include <cuda_runtime_api.h>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "kernels/api/collectives.h"

namespace baton::kernels::cuda {

struct TeamDevice {
  int device = 0;  // CUDA's number
  int first_rank = 0;
  cudaStream_t stream = nullptr;
};

// One end per device. A device alone adds up what it has. Several write what they have to memory
// that the others read directly (NVLink or PCIe peers), and add in rank order: the same bits
// everywhere. Devices that cannot read each other, and all if `through_nccl`, take
// nccl_collectives.h. Errors: as there; ResourceExhausted. The ends share memory and die together.
absl::StatusOr<std::vector<std::unique_ptr<Collectives>>> CreateCollectives(
    int num_ranks, const std::vector<TeamDevice>& devices, bool through_nccl);

}  // namespace baton::kernels::cuda
