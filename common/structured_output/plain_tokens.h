// Tokens of plain text, by how many characters they have.
//
// Plain characters are those that JSON strings hold as they are: all from U+0020 but `"` and `\`.
// Nearly all tokens of a vocabulary consist of them alone, and nearly all places where many tokens
// may follow (inside a string, in free text) take any of them up to some length. There nobody has
// to look at each token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "common/structured_output/mask_cache.h"

namespace baton::structured {

// A token of more characters does not count as plain.
inline constexpr size_t kMostPlainCharacters = 254;

// Characters of `bytes`, at most kMostPlainCharacters; 0 if it is empty, longer, or holds anything
// but whole plain characters.
size_t PlainCharacters(absl::string_view bytes);

// Immutable; any thread.
class PlainTokens final {
 public:
  // `characters[id]`: of token `id`, as PlainCharacters says. `vocab_size` >= characters.size().
  PlainTokens(const std::vector<uint8_t>& characters, size_t vocab_size);

  // Allows in `mask`, of vocab_size bits, the plain tokens of at most `most_characters`.
  void Allow(size_t most_characters, TokenMask* mask) const;

  // Of the longest plain token; 0 without any.
  size_t most_characters() const { return most_characters_; }
  size_t bytes() const;

 private:
  struct LongToken {
    uint32_t token = 0;
    uint8_t characters = 0;
  };

  size_t most_characters_ = 0;
  std::vector<TokenMask> masks_;  // [k]: at most k + 1 characters
  TokenMask all_;
  std::vector<LongToken> long_tokens_;  // with more than masks_.size() characters; ascending
};

}  // namespace baton::structured
