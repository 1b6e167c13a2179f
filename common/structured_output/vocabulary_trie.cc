#include "common/structured_output/vocabulary_trie.h"

#include <algorithm>

#include "common/structured_output/expression.h"

namespace baton::structured {
namespace {

constexpr size_t kMaxTokenBytes = UINT16_MAX;

size_t CommonPrefix(const std::string& a, const std::string& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

// Bytes from kFirstTokenSymbol are in no text.
bool IsMatched(const std::string& bytes) {
  return bytes.size() <= kMaxTokenBytes && std::none_of(bytes.begin(), bytes.end(), [](char byte) {
           return static_cast<uint8_t>(byte) >= kFirstTokenSymbol;
         });
}

}  // namespace

VocabularyTrie::VocabularyTrie(const std::vector<std::string>& token_bytes, size_t vocab_size)
    : vocab_size_(std::max(vocab_size, token_bytes.size())) {
  begins_.push_back(0);
  for (uint32_t id = 0; id < token_bytes.size(); ++id) {
    const std::string& bytes = token_bytes[id];
    if (IsMatched(bytes)) bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    begins_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  BuildNodes(token_bytes, SortTokens(token_bytes));
}

size_t VocabularyTrie::SortTokens(const std::vector<std::string>& token_bytes) {
  std::vector<uint8_t> characters(token_bytes.size(), 0);
  for (uint32_t id = 0; id < token_bytes.size(); ++id) {
    if (bytes_of(id).empty()) continue;
    tokens_.push_back(id);
    characters[id] = static_cast<uint8_t>(PlainCharacters(token_bytes[id]));
  }
  std::sort(tokens_.begin(), tokens_.end(), [&](uint32_t a, uint32_t b) {
    if ((characters[a] > 0) != (characters[b] > 0)) return characters[a] > 0;
    return token_bytes[a] != token_bytes[b] ? token_bytes[a] < token_bytes[b] : a < b;
  });
  plain_tokens_ = std::make_unique<PlainTokens>(characters, vocab_size_);
  return static_cast<size_t>(
      std::count_if(characters.begin(), characters.end(), [](uint8_t count) { return count > 0; }));
}

void VocabularyTrie::BuildNodes(const std::vector<std::string>& token_bytes, size_t num_plain) {
  std::vector<uint32_t> path;  // nodes from the root to the last one
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      const Node& closed = nodes_[path.back()];
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
      if (path.size() == 1) continue;
      Node& parent = nodes_[path[path.size() - 2]];
      parent.most_characters = std::max(parent.most_characters, closed.most_characters);
    }
  };
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const std::string& bytes = token_bytes[tokens_[i]];
    close(i == 0 || i == num_plain ? 0 : CommonPrefix(token_bytes[tokens_[i - 1]], bytes));
    if (i == num_plain) other_nodes_begin_ = static_cast<uint32_t>(nodes_.size());
    while (path.size() < bytes.size()) {
      Node node;
      node.byte = static_cast<uint8_t>(bytes[path.size()]);
      node.depth = static_cast<uint16_t>(path.size() + 1);
      node.token_begin = node.token_end = i;
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(node);
    }
    Node& last = nodes_[path.back()];
    last.token_end = i + 1;
    last.most_characters = i < num_plain ? static_cast<uint8_t>(PlainCharacters(bytes)) : kNotPlain;
    max_depth_ = std::max(max_depth_, bytes.size());
  }
  close(0);
  if (num_plain == tokens_.size()) other_nodes_begin_ = static_cast<uint32_t>(nodes_.size());
}

absl::Span<const uint8_t> VocabularyTrie::bytes_of(uint32_t token) const {
  if (token + size_t{1} >= begins_.size()) return {};
  return absl::MakeConstSpan(bytes_).subspan(begins_[token], begins_[token + 1] - begins_[token]);
}

}  // namespace baton::structured
