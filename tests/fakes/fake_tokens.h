// The "model" of the fakes: a token that depends on every token before it and on the seed. Whoever
// loses, repeats or reorders a token gets another answer.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace baton {

// Running digest of a token sequence; extend it token by token.
class FakeTokenChain {
 public:
  explicit FakeTokenChain(uint64_t seed) : state_(Mix(seed + 0x9e3779b97f4a7c15u)) {}

  void Append(uint32_t token) { state_ = Mix(state_ ^ (uint64_t{token} + 0x2545f4914f6cdd1du)); }
  // Stands for all that was appended.
  uint64_t digest() const { return state_; }
  // The next token, in [2, vocab_size): 0 and 1 are left to begin and end of text.
  uint32_t Next(uint32_t vocab_size) const {
    return 2 + static_cast<uint32_t>(Mix(state_) % (vocab_size - 2));
  }

 private:
  static uint64_t Mix(uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

// The `count` tokens that follow `tokens`.
inline std::vector<uint32_t> FakeContinuation(absl::Span<const uint32_t> tokens, uint64_t seed,
                                              uint32_t vocab_size, uint32_t count) {
  FakeTokenChain chain(seed);
  for (uint32_t token : tokens) chain.Append(token);
  std::vector<uint32_t> answer;
  for (uint32_t i = 0; i < count; ++i) {
    answer.push_back(chain.Next(vocab_size));
    chain.Append(answer.back());
  }
  return answer;
}

}  // namespace baton
