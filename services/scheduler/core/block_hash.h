// Names of what a block of KV cache holds. A name stands for the block's tokens and everything
// before them, as what a block holds depends on every earlier token; and for the form of attention
// in which each of these blocks is computed, on which the last bits of it depend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace baton::scheduler {

// 128 bits of SHA-256.
struct BlockHash {
  uint64_t high = 0;
  uint64_t low = 0;

  bool operator==(const BlockHash&) const = default;
};

// For hash tables: the bits are as good as random.
struct BlockHashBits {
  size_t operator()(const BlockHash& hash) const { return static_cast<size_t>(hash.low); }
};

// Chained: hash(block) = SHA-256(its form, hash(block before it), its tokens), and the first block
// follows a root made of a secret and the sequence's salt. Who does not know the secret cannot look
// for two texts with the same name at home. Immutable; any thread.
class BlockHasher final {
 public:
  BlockHasher(uint32_t block_tokens, std::string secret)
      : block_tokens_(block_tokens), secret_(std::move(secret)) {}

  uint32_t block_tokens() const { return block_tokens_; }
  // Stands before the first block of every sequence with this `salt`.
  BlockHash Root(absl::string_view salt) const;
  // Of the block that holds `tokens`, block_tokens() of them, behind `parent`. `expanded`: it is
  // computed in the expanded form.
  BlockHash Next(const BlockHash& parent, absl::Span<const uint32_t> tokens,
                 bool expanded = false) const;

 private:
  const uint32_t block_tokens_;
  const std::string secret_;
};

}  // namespace baton::scheduler
