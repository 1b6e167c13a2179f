// How a stage's memory divides into weights, workspace and KV cache.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace baton::stage {

// One memory: a GPU's own, or the host's, which all devices of a CPU team share.
struct MemoryPool {
  std::string name;  // for messages: "device 3"
  bool is_host = false;
  uint64_t total_bytes = 0;  // as its system says, with weights and workspace in place
  uint64_t free_bytes = 0;
  uint64_t weight_bytes = 0;     // resident
  uint64_t workspace_bytes = 0;  // resident: buffers, and what operations hold for themselves
  uint64_t kv_block_bytes = 0;   // one block, its copies on all devices of the pool
};

// What operator and scheduler say. Bytes are of all devices together; each pool gets an equal part.
struct MemoryLimits {
  uint64_t memory_bytes = 0;    // weights, workspace and KV cache; 0: what `utilization` leaves
  uint64_t kv_cache_bytes = 0;  // 0: the rest; on a host without memory_bytes a default
  double utilization = 0.9;     // share of a GPU's memory; of what a host has free
  int64_t min_blocks = 1;       // one sequence of the greatest length
  int64_t wanted_blocks = 0;    // exactly these; 0: all that fit
  // Weights of a host in pages of files: the system counts those as free, though the stage reads
  // them with every step.
  uint64_t evictable_weight_bytes = 0;
};

// Of all pools together.
struct MemoryPlan {
  uint64_t memory_bytes = 0;     // may be used
  uint64_t weight_bytes = 0;     // resident
  uint64_t workspace_bytes = 0;  // resident
  uint64_t kv_block_bytes = 0;   // one block, its copies on all devices
  int64_t num_blocks = 0;        // of KV cache
};

// As many blocks as the fullest pool has room for, or as are wanted. ResourceExhausted with the
// figures and the name of the pool that does not hold them, or min_blocks; or whose free memory,
// because others use it, is less than was to be used.
absl::StatusOr<MemoryPlan> DivideMemory(std::span<const MemoryPool> pools,
                                        const MemoryLimits& limits);

}  // namespace baton::stage
