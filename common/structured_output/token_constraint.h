// A compiled constraint applied to tokens, and one sequence's place in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

#include "common/structured_output/automaton.h"
#include "common/structured_output/mask_cache.h"
#include "common/structured_output/pushdown_states.h"
#include "common/structured_output/token_masks.h"
#include "common/structured_output/vocabulary_trie.h"

namespace baton::structured {

// Shared by the sequences that have the same constraint. One caller at a time.
class TokenConstraint final {
 public:
  // `end_tokens` may be drawn where the text may end, and nothing else behind them. Vocabulary and
  // cache must outlive this. States are forgotten beyond `state_bytes`.
  TokenConstraint(Automaton automaton, std::shared_ptr<const VocabularyTrie> vocabulary,
                  std::vector<uint32_t> end_tokens, std::shared_ptr<MaskCache> cache,
                  size_t state_bytes = size_t{32} << 20);

  const VocabularyTrie& vocabulary() const { return *vocabulary_; }
  absl::Span<const uint32_t> end_tokens() const { return end_tokens_; }
  bool IsEnd(uint32_t token) const;
  size_t automaton_bytes() const { return automaton_.bytes(); }
  size_t state_bytes() const { return states_->bytes() + masks_->bytes(); }
  // All states are made again when they are next needed; matchers notice by the generation.
  void ForgetStates();

 private:
  friend class ConstraintMatcher;

  // What the token adds to the text: its bytes, or its symbol; empty: it is never allowed.
  absl::Span<const uint8_t> SpellingOf(uint32_t token) const;

  const Automaton automaton_;
  std::vector<uint8_t> symbols_;  // kFirstTokenSymbol, ...
  const std::shared_ptr<const VocabularyTrie> vocabulary_;
  const std::vector<uint32_t> end_tokens_;
  const std::shared_ptr<MaskCache> cache_;
  const size_t state_bytes_;
  uint64_t generation_ = 0;
  std::unique_ptr<PushdownStates> states_;
  std::unique_ptr<TokenMasks> masks_;
};

// Where one sequence is. Copies go their own ways; any of them can be made again from the tokens.
class ConstraintMatcher final {
 public:
  explicit ConstraintMatcher(std::shared_ptr<TokenConstraint> constraint);

  // The answer goes on with `token`. False if the constraint does not allow that: from then on no
  // token is allowed.
  bool Accept(uint32_t token);
  // The tokens that may come next: one bit each, of vocab_size; valid as long as it is held. All
  // zero after a token that was not allowed. After an end token: end tokens.
  std::shared_ptr<const TokenMask> AllowedTokens();
  // The text may end here, or has.
  bool IsComplete();

 private:
  void Renew();

  std::shared_ptr<TokenConstraint> constraint_;
  uint64_t generation_ = 0;
  StateId state_ = PushdownStates::kDead;
  bool ended_ = false;
  std::string text_;  // what was accepted, to find the state again
};

}  // namespace baton::structured
