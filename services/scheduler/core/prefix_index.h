// Which block holds which beginning of a text. Blocks enter when their contents are ordered and
// leave when they are handed out for something else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"

#include "services/scheduler/core/block_hash.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// What a full block holds: `tokens`, behind everything that `parent` stands for.
struct BlockContent {
  BlockHash hash;
  BlockHash parent;
  absl::Span<const TokenId> tokens;
};

class PrefixIndex final {
 public:
  explicit PrefixIndex(uint32_t num_blocks) : entries_(num_blocks) {}

  // `block`, of which nothing is known, holds `content`. If another block holds the same, that one
  // stays the one to be found.
  void Put(BlockId block, const BlockContent& content);
  // The block that holds `content`. Parent and tokens are compared too, so that two texts never
  // share a block whatever their hashes are.
  std::optional<BlockId> Find(const BlockContent& content) const;
  // Lets `block` be found, if its contents are known and no other block is found for them. Whether
  // it is found now.
  bool Offer(BlockId block);
  // What `block` holds is not known any more. Whether it was the one to be found.
  bool Drop(BlockId block);
  // Blocks that can be found.
  size_t size() const { return blocks_.size(); }

 private:
  struct Entry {
    BlockHash hash;
    BlockHash parent;
    std::vector<TokenId> tokens;  // empty: nothing is known of the block
  };

  std::vector<Entry> entries_;  // of each block
  std::unordered_map<BlockHash, BlockId, BlockHashBits> blocks_;
};

}  // namespace baton::scheduler
