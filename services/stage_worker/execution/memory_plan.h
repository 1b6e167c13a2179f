// How a stage's memory divides into weights, workspace and KV cache.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace baton::stage {

// Bytes of all devices of the stage together.
struct MemoryPlan {
  uint64_t memory_bytes = 0;     // may be used
  uint64_t weight_bytes = 0;     // resident
  uint64_t workspace_bytes = 0;  // allocated at start
  uint64_t kv_block_bytes = 0;   // one block, its copies on all devices
  int64_t num_blocks = 0;        // of KV cache: wanted, or that fit in the rest
};

// Fills in num_blocks: `wanted_blocks`, or all that fit if it is 0. ResourceExhausted with the
// figures if fewer than that, or than `min_blocks` (one sequence of the greatest length), fit.
absl::StatusOr<MemoryPlan> DivideMemory(MemoryPlan plan, int64_t min_blocks, int64_t wanted_blocks);

}  // namespace baton::stage
