// Where the weights of grouped products lie, in device memory: experts of a layer and heads of a
// rank are looked up there by the kernels.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "kernels/api/experts.h"
#include "kernels/cuda/expert_gemm.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/weight_image.h"

namespace baton::kernels::cuda {

// Tables are made when their weights are first used and kept, valid as long as this object: one
// allocation, one copy and one wait for it per layer and rank. All weights of a table have one
// shape; others end the process.
class WeightTables final {
 public:
  // For the kernels of any shape: [weights.size()].
  const GatedImage* Experts(std::span<const FeedForwardWeights> weights, PinnedRing& ring,
                            cudaStream_t stream);
  // For LaunchExpertGateUp and LaunchExpertDown: the routed experts, then `shared` unless it is all
  // null. Whole FP8 scale blocks (WeightLayout::has_whole_blocks).
  const ExpertWeights* MappedExperts(std::span<const FeedForwardWeights> routed,
                                     const FeedForwardWeights& shared, PinnedRing& ring,
                                     cudaStream_t stream);
  // For LaunchBf16Gemm: a map of each head's weight.
  const CUtensorMap* Heads(std::span<const PackedWeight* const> weights, PinnedRing& ring,
                           cudaStream_t stream);
  size_t bytes() const;

 private:
  struct Table {
    std::vector<uint64_t> ids;  // of all weights, or of all gates
    std::unique_ptr<CudaBuffer> memory;
  };
  using Tables = std::map<uint64_t, Table>;  // by the first id

  // The table of these ids; empty if it is new.
  static Table& Find(Tables& tables, std::vector<uint64_t> ids);
  static void Fill(Table& table, const void* entries, size_t bytes, PinnedRing& ring,
                   cudaStream_t stream);

  Tables images_;
  Tables experts_;
  Tables heads_;
};

}  // namespace baton::kernels::cuda
