#include "common/structured_output/plain_tokens.h"

#include <algorithm>

#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

// Longer tokens are few (of DeepSeek's 128,000 tokens 93), so they have no masks of their own.
constexpr size_t kMostMasks = 20;

void AllowAll(const TokenMask& tokens, TokenMask* mask) {
  for (size_t i = 0; i < tokens.size(); ++i) (*mask)[i] |= tokens[i];
}

}  // namespace

size_t PlainCharacters(absl::string_view bytes) {
  size_t characters = 0;
  while (!bytes.empty()) {
    const Utf8Step step = NextUtf8(bytes);
    if (step.kind != Utf8Kind::kCharacter || step.code_point < 0x20 || step.code_point == '"' ||
        step.code_point == '\\' || ++characters > kMostPlainCharacters) {
      return 0;
    }
    bytes.remove_prefix(step.length);
  }
  return characters;
}

PlainTokens::PlainTokens(const std::vector<uint8_t>& characters, size_t vocab_size)
    : all_((vocab_size + 63) / 64) {
  for (const uint8_t count : characters) {
    most_characters_ = std::max<size_t>(most_characters_, count);
  }
  masks_.assign(std::min(most_characters_, kMostMasks), all_);
  for (uint32_t token = 0; token < characters.size(); ++token) {
    const uint8_t count = characters[token];
    if (count == 0) continue;
    AllowToken(token, &all_);
    if (count <= masks_.size()) {
      AllowToken(token, &masks_[count - 1]);
    } else {
      long_tokens_.push_back({token, count});
    }
  }
  for (size_t i = 1; i < masks_.size(); ++i) AllowAll(masks_[i - 1], &masks_[i]);
  std::sort(long_tokens_.begin(), long_tokens_.end(), [](const LongToken& a, const LongToken& b) {
    return a.characters != b.characters ? a.characters < b.characters : a.token < b.token;
  });
}

void PlainTokens::Allow(size_t most_characters, TokenMask* mask) const {
  if (most_characters == 0 || masks_.empty()) return;
  if (most_characters >= most_characters_) return AllowAll(all_, mask);
  AllowAll(masks_[std::min(most_characters, masks_.size()) - 1], mask);
  for (const LongToken& token : long_tokens_) {
    if (token.characters > most_characters) break;
    AllowToken(token.token, mask);
  }
}

size_t PlainTokens::bytes() const {
  return (masks_.size() + 1) * all_.capacity() * sizeof(uint64_t) +
         long_tokens_.capacity() * sizeof(LongToken);
}

}  // namespace baton::structured
