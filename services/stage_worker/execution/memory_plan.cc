#include "services/stage_worker/execution/memory_plan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace baton::stage {

absl::StatusOr<MemoryPlan> DivideMemory(MemoryPlan plan, int64_t min_blocks,
                                        int64_t wanted_blocks) {
  const uint64_t fixed = plan.weight_bytes + plan.workspace_bytes;
  const uint64_t rest = plan.memory_bytes > fixed ? plan.memory_bytes - fixed : 0;
  // Block ids travel as 32-bit numbers.
  const uint64_t most = std::numeric_limits<int32_t>::max();
  const int64_t fitting = static_cast<int64_t>(std::min(rest / plan.kv_block_bytes, most));
  const int64_t needed = std::max(min_blocks, wanted_blocks);
  if (fitting < needed) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "memory of ", plan.memory_bytes, " bytes holds weights (", plan.weight_bytes,
        "), workspace (", plan.workspace_bytes, ") and ", fitting, " blocks of KV cache of ",
        plan.kv_block_bytes, " bytes; ", needed, " are needed"));
  }
  plan.num_blocks = wanted_blocks > 0 ? wanted_blocks : fitting;
  return plan;
}

}  // namespace baton::stage
