// Who holds which block of the KV cache, and what the blocks hold. The same block ids are valid on
// every stage, so one ledger, sized by the smallest stage, speaks for all.
//
//   free, blank --Grow--> held by one --Record--> held, can be found --Begin--> held by several
//   held --Release by the last holder--> free: blank, or still to be found (cached)
//   cached --Begin--> held again;   cached --Grow, when no blank one is left--> held, forgotten
//
// A block is shared only when it is full and the steps that fill it are ordered; steps run in order
// on every stage, so whoever finds it reads what it promises, even in the same step. Nobody writes
// to a shared block: the last block of a sequence, which still gets tokens, is its own.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "services/scheduler/core/block_hash.h"
#include "services/scheduler/core/block_list.h"
#include "services/scheduler/core/prefix_index.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// The beginning of a sequence that is in the cache already.
struct CachedPrefix {
  std::vector<BlockId> blocks;  // in the order of the sequence's tokens, all full
  uint32_t num_free = 0;        // of them, held by nobody
};

class BlockLedger final {
 public:
  // Blocks 0 .. num_blocks - 1, each of `block_tokens` tokens, all free and blank. Without a
  // `hasher`, no block is ever found.
  BlockLedger(uint32_t num_blocks, uint32_t block_tokens,
              std::optional<BlockHasher> hasher = std::nullopt);

  uint32_t num_blocks() const { return num_blocks_; }
  uint32_t block_tokens() const { return block_tokens_; }
  uint32_t num_free() const { return blank_.size() + cached_.size(); }
  uint32_t num_used() const { return num_blocks_ - num_free(); }
  // Free blocks whose contents can still be found.
  uint32_t num_cached() const { return cached_.size(); }
  // Cached blocks that were handed out for other contents so far.
  uint64_t num_evicted() const { return num_evicted_; }
  // Whether it has a hasher.
  bool finds_blocks() const { return hasher_.has_value(); }
  // Blocks that hold `num_tokens` tokens.
  uint32_t BlocksFor(uint64_t num_tokens) const;
  // Tokens that a single sequence can have in the whole cache.
  uint64_t capacity_tokens() const { return uint64_t{num_blocks_} * block_tokens_; }

  // The longest beginning of `sequence` that can be found and leaves at least one token to be
  // computed. Valid until the ledger changes.
  CachedPrefix FindPrefix(Sequence* sequence) const;
  // The table of `id`, which holds none, becomes `prefix` and new blocks for the rest of
  // `num_tokens` tokens. Returns the whole table; nullopt, with nothing changed, if too few blocks
  // are free.
  std::optional<std::vector<BlockId>> Begin(SequenceId id, const CachedPrefix& prefix,
                                            uint64_t num_tokens);
  // Lets the table of `id` hold `num_tokens` tokens. Returns the blocks that were added, in order,
  // perhaps none; nullopt, with nothing changed, if too few are free.
  std::optional<std::vector<BlockId>> Grow(SequenceId id, uint64_t num_tokens);
  // The blocks of `sequence` that it has filled, by steps that are ordered, can be found from now
  // on.
  void Record(Sequence* sequence);
  // What `id` has computed is not to be trusted: nobody finds its blocks from now on.
  void Distrust(SequenceId id);
  // `id` holds its blocks no longer. Those that nobody else holds become free, its last tokens
  // first: they are handed out in this order, blank ones before all that can be found. No effect if
  // it holds none.
  void Release(SequenceId id);

  // Blocks of `id` in the order of its tokens.
  const std::vector<BlockId>& Table(SequenceId id) const;
  // Sequences that hold blocks.
  size_t num_tables() const { return tables_.size(); }
  // Sequences that hold `block`.
  uint32_t num_holders(BlockId block) const { return num_holders_[block]; }

 private:
  struct HeldBlocks {
    std::vector<BlockId> blocks;
    size_t num_recorded = 0;  // of them: found, or given to Record
    bool distrusted = false;
  };

  BlockId TakeFree();
  void FreeBlock(BlockId block);

  const uint32_t num_blocks_;
  const uint32_t block_tokens_;
  const std::optional<BlockHasher> hasher_;
  std::vector<uint32_t> num_holders_;  // of each block
  BlockList blank_;                    // free, the longest free first
  BlockList cached_;                   // likewise, and can be found
  PrefixIndex index_;
  std::unordered_map<SequenceId, HeldBlocks> tables_;
  uint64_t num_evicted_ = 0;
};

}  // namespace baton::scheduler
