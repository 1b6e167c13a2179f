#include "services/scheduler/core/prefill_policy.h"

#include <algorithm>

namespace baton::scheduler {

uint32_t ChunkTokens(const Sequence& sequence, uint32_t budget) {
  return std::min(sequence.num_to_compute(), budget);
}

bool FitsNow(const Sequence& sequence, const CachedPrefix& prefix, const BlockLedger& ledger,
             uint32_t num_reserved) {
  const uint64_t num_shared = prefix.blocks.size() - prefix.num_free;
  const uint64_t num_blocks = ledger.BlocksFor(uint64_t{sequence.num_tokens()} + 1);
  return num_blocks - num_shared + num_reserved <= ledger.num_free();
}

uint32_t AdmissionShare(uint64_t num_waiting, uint64_t num_places, uint32_t num_free_steps) {
  const uint64_t candidates = std::min(num_waiting, num_places);
  return static_cast<uint32_t>((candidates + num_free_steps - 1) / num_free_steps);
}

}  // namespace baton::scheduler
