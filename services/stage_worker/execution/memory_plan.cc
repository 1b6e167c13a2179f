#include "services/stage_worker/execution/memory_plan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

// KV cache on a host where nobody says how much: enough for a developer's machine, taken at once.
constexpr uint64_t kDefaultKvCacheBytes = uint64_t{256} << 20;

uint64_t Share(double share, uint64_t bytes) {
  return static_cast<uint64_t>(share * static_cast<double>(bytes));
}

// Bytes of one pool that the stage may use.
uint64_t LimitOf(const MemoryPool& pool, const MemoryLimits& limits, size_t num_pools) {
  const uint64_t fixed = pool.weight_bytes + pool.workspace_bytes;
  uint64_t kv_bytes = limits.kv_cache_bytes / num_pools;
  if (limits.memory_bytes == 0 && pool.is_host && kv_bytes == 0) {
    kv_bytes = std::max(kDefaultKvCacheBytes,
                        static_cast<uint64_t>(limits.min_blocks) * pool.kv_block_bytes);
  }
  if (kv_bytes > 0) {
    kv_bytes =
        std::max(kv_bytes, static_cast<uint64_t>(limits.wanted_blocks) * pool.kv_block_bytes);
  }
  if (limits.memory_bytes > 0) {
    const uint64_t given = limits.memory_bytes / num_pools;
    return kv_bytes == 0 ? given : std::min(given, fixed + kv_bytes);
  }
  if (pool.is_host) {
    const uint64_t free =
        pool.free_bytes - std::min(pool.free_bytes, limits.evictable_weight_bytes);
    return fixed + std::min(kv_bytes, Share(limits.utilization, free));
  }
  return kv_bytes > 0 ? fixed + kv_bytes : Share(limits.utilization, pool.total_bytes);
}

// A GPU has no more than what it has free beside what the stage holds already.
absl::Status CheckFree(const MemoryPool& pool, uint64_t limit) {
  const uint64_t fixed = pool.weight_bytes + pool.workspace_bytes;
  if (pool.is_host || limit <= fixed + pool.free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(pool.name, ": the stage is to use ", limit, " of ", pool.total_bytes,
                   " bytes of memory; it holds ", fixed, ", and ", pool.free_bytes,
                   " are free, for others use it too: lower --gpu-memory-utilization, or give "
                   "--kv-cache-memory-bytes"));
}

}  // namespace

absl::StatusOr<MemoryPlan> DivideMemory(std::span<const MemoryPool> pools,
                                        const MemoryLimits& limits) {
  MemoryPlan plan;
  // Block ids travel as 32-bit numbers.
  plan.num_blocks = std::numeric_limits<int32_t>::max();
  const int64_t needed = std::max(limits.min_blocks, limits.wanted_blocks);
  for (const MemoryPool& pool : pools) {
    const uint64_t limit = LimitOf(pool, limits, pools.size());
    RETURN_IF_ERROR(CheckFree(pool, limit));
    const uint64_t fixed = pool.weight_bytes + pool.workspace_bytes;
    const uint64_t rest = limit > fixed ? limit - fixed : 0;
    const uint64_t fitting =
        std::min(rest / pool.kv_block_bytes, static_cast<uint64_t>(plan.num_blocks));
    if (fitting < static_cast<uint64_t>(needed)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          pool.name, ": memory of ", limit, " bytes holds weights (", pool.weight_bytes,
          "), workspace (", pool.workspace_bytes, ") and ", fitting, " blocks of KV cache of ",
          pool.kv_block_bytes, " bytes; ", needed, " are needed"));
    }
    plan.num_blocks = static_cast<int64_t>(fitting);
    plan.memory_bytes += limit;
    plan.weight_bytes += pool.weight_bytes;
    plan.workspace_bytes += pool.workspace_bytes;
    plan.kv_block_bytes += pool.kv_block_bytes;
  }
  if (limits.wanted_blocks > 0) plan.num_blocks = limits.wanted_blocks;
  return plan;
}

}  // namespace baton::stage
