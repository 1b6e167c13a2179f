// Where the weights of a layer's experts lie, in device memory: grouped products look them up
// there.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "kernels/api/experts.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/weight_image.h"

namespace baton::kernels::cuda {

// Made at a layer's first step and kept: one allocation and one copy per layer and rank.
class ExpertTables final {
 public:
  // [weights.size()], valid as long as this object. All experts have one shape.
  const GatedImage* Find(std::span<const FeedForwardWeights> weights, PinnedRing& ring,
                         cudaStream_t stream);

 private:
  struct Table {
    std::vector<uint64_t> ids;  // of all gates
    std::unique_ptr<CudaBuffer> memory;
  };

  std::map<uint64_t, Table> tables_;  // by the id of the first expert's gate
};

}  // namespace baton::kernels::cuda
