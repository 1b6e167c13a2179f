// How prompts share what the decodes leave of a step's token budget, and when a waiting sequence
// may begin.
#pragma once

#include <cstdint>

#include "services/scheduler/core/block_ledger.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/step_cost.h"
#include "services/scheduler/core/step_work.h"

namespace baton::scheduler {

// Chunks that are cut end at one of it, if they do not get small by it.
inline constexpr uint32_t kChunkMultiple = 64;

struct ChunkLimits {
  uint32_t budget = 0;      // tokens that the step has left
  uint32_t max_chunk = 0;   // of one prompt; 0: the budget alone
  uint32_t min_chunk = 64;  // a chunk is not cut below it for want of time
  uint32_t multiple = kChunkMultiple;
  double seconds = 0;  // that the step may take with the chunk; 0: no matter
};

// Tokens of `sequence` to compute, at least 1, in a step that has `step` to do already: all that
// are known, cut at the limits.
uint32_t ChunkTokens(const Sequence& sequence, const ChunkLimits& limits, const StepWork& step,
                     const StepCost& cost);

// What the next chunk of `sequence` pays, however short it is, for the keys and values of all that
// is computed already: as many tokens of the chunk take as long. 0 if its next token is not
// expanded.
double ExpansionTokens(const Sequence& sequence, const StepCost& cost);

// Tokens of a step of `budget` that others may have besides prompts with `num_tokens` left, which
// need no step more for it: chunks that are cut end at a multiple, so it may be less than what is
// left of the last step.
uint32_t SpareTokens(uint64_t num_tokens, uint32_t budget);

// Free blocks that `sequence` needs to begin behind `prefix`, as FitsNow says.
uint64_t BlocksNeeded(const Sequence& sequence, const CachedPrefix& prefix,
                      const BlockLedger& ledger);

// True if blocks for every known token of `sequence` and the next one are free, and `num_reserved`
// more: a prompt that began never stops half way for want of blocks. Of `prefix`, what others hold
// costs nothing; what nobody holds is taken from the free ones.
bool FitsNow(const Sequence& sequence, const CachedPrefix& prefix, const BlockLedger& ledger,
             uint32_t num_reserved);

// Sequences that may begin in one step: an even share of those that wait for a place among the
// running, at least one, so that the steps that are free to start fill alike.
uint32_t AdmissionShare(uint64_t num_waiting, uint64_t num_places, uint32_t num_free_steps);

}  // namespace baton::scheduler
