#include "common/structured_output/token_constraint.h"

#include <algorithm>
#include <utility>

#include "common/structured_output/expression.h"

namespace baton::structured {

TokenConstraint::TokenConstraint(Automaton automaton,
                                 std::shared_ptr<const VocabularyTrie> vocabulary,
                                 std::vector<uint32_t> end_tokens, std::shared_ptr<MaskCache> cache,
                                 size_t state_bytes)
    : automaton_(std::move(automaton)),
      vocabulary_(std::move(vocabulary)),
      end_tokens_(std::move(end_tokens)),
      cache_(std::move(cache)),
      state_bytes_(state_bytes),
      states_(std::make_unique<PushdownStates>(&automaton_)),
      masks_(std::make_unique<TokenMasks>(vocabulary_.get(), end_tokens_, &automaton_,
                                          states_.get(), cache_.get())) {
  for (size_t i = 0; i < automaton_.token_symbols.size(); ++i) {
    symbols_.push_back(static_cast<uint8_t>(kFirstTokenSymbol + i));
  }
}

bool TokenConstraint::IsEnd(uint32_t token) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
}

void TokenConstraint::ForgetStates() {
  ++generation_;
  states_ = std::make_unique<PushdownStates>(&automaton_);
  masks_ = std::make_unique<TokenMasks>(vocabulary_.get(), end_tokens_, &automaton_, states_.get(),
                                        cache_.get());
}

absl::Span<const uint8_t> TokenConstraint::SpellingOf(uint32_t token) const {
  const absl::Span<const uint8_t> bytes = vocabulary_->bytes_of(token);
  const std::vector<uint32_t>& symbols = automaton_.token_symbols;
  const auto found = std::find(symbols.begin(), symbols.end(), token);
  if (!bytes.empty() || found == symbols.end()) return bytes;
  return absl::MakeConstSpan(symbols_).subspan(found - symbols.begin(), 1);
}

ConstraintMatcher::ConstraintMatcher(std::shared_ptr<TokenConstraint> constraint)
    : constraint_(std::move(constraint)),
      generation_(constraint_->generation_),
      state_(constraint_->states_->start()) {}

void ConstraintMatcher::Renew() {
  if (constraint_->state_bytes() > constraint_->state_bytes_) constraint_->ForgetStates();
  if (std::exchange(generation_, constraint_->generation_) == constraint_->generation_) return;
  PushdownStates& states = *constraint_->states_;
  const bool was_dead = state_ == PushdownStates::kDead;
  state_ = was_dead ? PushdownStates::kDead : states.start();
  for (const char byte : text_) state_ = states.Step(state_, static_cast<uint8_t>(byte));
}

bool ConstraintMatcher::Accept(uint32_t token) {
  Renew();
  PushdownStates& states = *constraint_->states_;
  if (constraint_->IsEnd(token)) {
    if (!ended_ && !states.Accepts(state_)) state_ = PushdownStates::kDead;
    ended_ = ended_ || state_ != PushdownStates::kDead;
    return ended_;
  }
  const absl::Span<const uint8_t> bytes = constraint_->SpellingOf(token);
  if (ended_ || bytes.empty()) {
    ended_ = false;
    state_ = PushdownStates::kDead;
    return false;
  }
  for (const uint8_t byte : bytes) state_ = states.Step(state_, byte);
  text_.append(bytes.begin(), bytes.end());
  return state_ != PushdownStates::kDead;
}

bool ConstraintMatcher::IsComplete() {
  Renew();
  return ended_ || constraint_->states_->Accepts(state_);
}

std::shared_ptr<const TokenMask> ConstraintMatcher::AllowedTokens() {
  Renew();
  if (ended_) {
    auto mask = std::make_shared<TokenMask>((constraint_->vocabulary_->vocab_size() + 63) / 64);
    for (const uint32_t token : constraint_->end_tokens_) AllowToken(token, mask.get());
    return mask;
  }
  const std::shared_ptr<const MaskCache::Entry> entry = constraint_->masks_->Of(state_);
  return {entry, &entry->mask};
}

}  // namespace baton::structured
