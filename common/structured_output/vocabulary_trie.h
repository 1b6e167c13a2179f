// A tokenizer's vocabulary as a tree of bytes: tokens with a common beginning share its nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

#include "common/structured_output/plain_tokens.h"

namespace baton::structured {

// Immutable; any thread. Two trees, one after the other: of the plain tokens (plain_tokens.h), and
// of all others. In each nodes stand in the order of their bytes, each before what continues it.
class VocabularyTrie final {
 public:
  struct Node {
    uint32_t end = 0;          // one past the last node that continues this one
    uint32_t token_begin = 0;  // of tokens(): those whose bytes end here
    uint32_t token_end = 0;
    uint16_t depth = 0;  // bytes from the root to here, at least 1
    uint8_t byte = 0;
    // Of the tokens here and below, which are plain, the most characters; kNotPlain of others.
    uint8_t most_characters = 0;
  };
  static constexpr uint8_t kNotPlain = UINT8_MAX;

  // `token_bytes[id]`: what token `id` stands for; empty: never matched (special tokens, holes).
  // Tokens of more than 65535 bytes, and those with bytes that no UTF-8 holds, are left out.
  // `vocab_size` >= token_bytes.size() is the number of logits.
  VocabularyTrie(const std::vector<std::string>& token_bytes, size_t vocab_size);

  absl::Span<const Node> nodes() const { return nodes_; }
  // Where the nodes of tokens begin that are not plain.
  uint32_t other_nodes_begin() const { return other_nodes_begin_; }
  // Of all nodes; a node knows its own.
  absl::Span<const uint32_t> tokens() const { return tokens_; }
  absl::Span<const uint32_t> tokens(const Node& node) const {
    return absl::MakeConstSpan(tokens_).subspan(node.token_begin,
                                                node.token_end - node.token_begin);
  }
  size_t vocab_size() const { return vocab_size_; }
  size_t max_depth() const { return max_depth_; }
  const PlainTokens& plain_tokens() const { return *plain_tokens_; }
  // Bytes of a token; empty for those that are never matched.
  absl::Span<const uint8_t> bytes_of(uint32_t token) const;

 private:
  // Tokens with bytes into tokens_: the plain ones first, whose number it returns, each kind in the
  // order of their bytes.
  size_t SortTokens(const std::vector<std::string>& token_bytes);
  void BuildNodes(const std::vector<std::string>& token_bytes, size_t num_plain);

  size_t vocab_size_;
  size_t max_depth_ = 0;
  uint32_t other_nodes_begin_ = 0;
  std::unique_ptr<const PlainTokens> plain_tokens_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> tokens_;
  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> begins_;  // [tokens + 1] into bytes_
};

}  // namespace baton::structured
