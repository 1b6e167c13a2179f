// How prompts share what the decodes leave of a step's token budget, and when a waiting sequence
// may begin.
#pragma once

#include <cstdint>

#include "services/scheduler/core/block_ledger.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// Tokens of `sequence` to compute with `budget` tokens left: all that are known, cut at the budget.
uint32_t ChunkTokens(const Sequence& sequence, uint32_t budget);

// True if blocks for every known token of `sequence` and the next one are free, and `num_reserved`
// more: a prompt that began never stops half way for want of blocks. Of `prefix`, what others hold
// costs nothing; what nobody holds is taken from the free ones.
bool FitsNow(const Sequence& sequence, const CachedPrefix& prefix, const BlockLedger& ledger,
             uint32_t num_reserved);

// Sequences that may begin in one step: an even share of those that wait for a place among the
// running, at least one, so that the steps that are free to start fill alike.
uint32_t AdmissionShare(uint64_t num_waiting, uint64_t num_places, uint32_t num_free_steps);

}  // namespace baton::scheduler
