// Who holds which block of the KV cache. The same block ids are valid on every stage, so one
// ledger, sized by the smallest stage, speaks for all.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

class BlockLedger final {
 public:
  // Blocks 0 .. num_blocks - 1, each of `block_tokens` tokens, all free.
  BlockLedger(uint32_t num_blocks, uint32_t block_tokens);

  uint32_t num_blocks() const { return num_blocks_; }
  uint32_t num_free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t num_used() const { return num_blocks_ - num_free(); }
  // Blocks that hold `num_tokens` tokens.
  uint32_t BlocksFor(uint64_t num_tokens) const;
  // Tokens that a single sequence can have in the whole cache.
  uint64_t capacity_tokens() const { return uint64_t{num_blocks_} * block_tokens_; }

  // Lets the table of `id` hold `num_tokens` tokens. Returns the blocks that were added, in order,
  // perhaps none; nullopt, with nothing changed, if too few are free.
  std::optional<std::vector<BlockId>> Grow(SequenceId id, uint64_t num_tokens);
  // The blocks of `id` become free, the longest free ones being handed out first. No effect if it
  // holds none.
  void Release(SequenceId id);

  // Blocks of `id` in the order of its tokens.
  const std::vector<BlockId>& Table(SequenceId id) const;
  // Sequences that hold blocks.
  size_t num_tables() const { return tables_.size(); }

 private:
  const uint32_t num_blocks_;
  const uint32_t block_tokens_;
  std::deque<BlockId> free_;
  std::unordered_map<SequenceId, std::vector<BlockId>> tables_;
};

}  // namespace baton::scheduler
