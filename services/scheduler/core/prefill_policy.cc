#include "services/scheduler/core/prefill_policy.h"

#include <algorithm>

namespace baton::scheduler {

namespace {

double SecondsWith(const StepWork& step, const Sequence& sequence, uint32_t num_tokens,
                   const StepCost& cost) {
  StepWork with = step;
  with.Add(sequence.num_scheduled(), num_tokens, num_tokens == sequence.num_to_compute(),
           sequence.num_expanded());
  return cost.Seconds(with);
}

}  // namespace

uint32_t ChunkTokens(const Sequence& sequence, const ChunkLimits& limits, const StepWork& step,
                     const StepCost& cost) {
  uint32_t most = std::min(sequence.num_to_compute(), limits.budget);
  if (limits.max_chunk > 0) most = std::min(most, limits.max_chunk);
  uint32_t chunk = most;
  if (limits.seconds > 0 && SecondsWith(step, sequence, most, cost) > limits.seconds) {
    uint32_t fits = std::min(most, limits.min_chunk);
    uint32_t too_long = most;
    while (fits + 1 < too_long) {
      const uint32_t middle = fits + (too_long - fits) / 2;
      (SecondsWith(step, sequence, middle, cost) > limits.seconds ? too_long : fits) = middle;
    }
    chunk = fits;
  }
  if (chunk == sequence.num_to_compute()) return chunk;
  const uint32_t over = (sequence.num_scheduled() + chunk) % limits.multiple;
  return over < chunk / 2 ? chunk - over : chunk;
}

double ExpansionTokens(const Sequence& sequence, const StepCost& cost) {
  return sequence.expands_next() ? cost.TokensOfExpansion(sequence.num_scheduled()) : 0;
}

uint32_t SpareTokens(uint64_t num_tokens, uint32_t budget) {
  if (num_tokens <= budget) return budget - static_cast<uint32_t>(num_tokens);
  const uint64_t cut = budget - budget % kChunkMultiple;  // what a step takes that is not the last
  if (cut == 0) return 0;
  // The last step takes the budget, those between this one and it a cut chunk each.
  const uint64_t needed = (num_tokens - budget - 1) % cut + 1;
  const uint64_t chunk = (needed + kChunkMultiple - 1) / kChunkMultiple * kChunkMultiple;
  return static_cast<uint32_t>(budget - chunk);
}

uint64_t BlocksNeeded(const Sequence& sequence, const CachedPrefix& prefix,
                      const BlockLedger& ledger) {
  const uint64_t num_shared = prefix.blocks.size() - prefix.num_free;
  return ledger.BlocksFor(uint64_t{sequence.num_tokens()} + 1) - num_shared;
}

bool FitsNow(const Sequence& sequence, const CachedPrefix& prefix, const BlockLedger& ledger,
             uint32_t num_reserved) {
  return BlocksNeeded(sequence, prefix, ledger) + num_reserved <= ledger.num_free();
}

uint32_t AdmissionShare(uint64_t num_waiting, uint64_t num_places, uint32_t num_free_steps) {
  const uint64_t candidates = std::min(num_waiting, num_places);
  return static_cast<uint32_t>((candidates + num_free_steps - 1) / num_free_steps);
}

}  // namespace baton::scheduler
