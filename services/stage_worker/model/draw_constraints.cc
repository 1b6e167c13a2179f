#include "services/stage_worker/model/draw_constraints.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/mask_cache.h"

namespace baton::stage {
namespace {

using structured::IsAllowed;
using structured::TokenMask;

// Up to here tokens are listed as allowed, above as masked: drawing from a list sorts it.
constexpr size_t kFewTokens = 2048;

size_t CountOf(const TokenMask& mask) {
  size_t count = 0;
  for (const uint64_t word : mask) count += static_cast<size_t>(std::popcount(word));
  return count;
}

void AppendTokens(const TokenMask& mask, uint64_t flip, size_t vocab_size,
                  std::vector<uint32_t>* out) {
  for (size_t i = 0; i < mask.size(); ++i) {
    for (uint64_t word = mask[i] ^ flip; word != 0; word &= word - 1) {
      const auto token =
          static_cast<uint32_t>(i * 64 + static_cast<size_t>(std::countr_zero(word)));
      if (token < vocab_size) out->push_back(token);
    }
  }
}

void ClearTokens(const std::vector<uint32_t>& tokens, TokenMask* mask) {
  for (const uint32_t token : tokens) (*mask)[token / 64] &= ~(uint64_t{1} << (token % 64));
}

void ClearUnlessAll(const std::vector<uint32_t>& tokens, TokenMask* mask) {
  if (tokens.empty()) return;
  TokenMask cleared = *mask;
  ClearTokens(tokens, &cleared);
  if (CountOf(cleared) > 0) *mask = std::move(cleared);
}

// `mask` less what `draw` rules out otherwise.
TokenMask Restrict(const TokenMask& mask, const DrawRow& draw) {
  TokenMask out = mask;
  const std::vector<uint32_t>& allowed = draw.sampling->allowed_token_ids;
  if (!allowed.empty()) {
    out.assign(mask.size(), 0);
    for (const uint32_t token : allowed) {
      if (IsAllowed(token, mask)) structured::AllowToken(token, &out);
    }
  }
  // Once nothing but end tokens is left, min_tokens cannot be had.
  if (draw.masked) ClearUnlessAll(draw.sampling->masked_token_ids, &out);
  ClearUnlessAll(BannedTokens(draw), &out);
  return out;
}

}  // namespace

void DrawConstraints::SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary) {
  places_.clear();
  compiled_.SetVocabulary(vocabulary);
  vocabulary_ = std::move(vocabulary);
}

void DrawConstraints::Forget() {
  absl::erase_if(places_, [](const auto& place) { return place.second.sampling.use_count() == 1; });
}

absl::StatusOr<structured::ConstraintMatcher*> DrawConstraints::MatcherOf(Place* place) {
  if (!place->matcher.has_value()) {
    ASSIGN_OR_RETURN(place->constraint, compiled_.Get(place->sampling->structured));
    place->matcher.emplace(place->constraint);
  }
  return &*place->matcher;
}

absl::StatusOr<DrawConstraints::Place*> DrawConstraints::PlaceOf(const DrawRow& draw) {
  if (vocabulary_ == nullptr) {
    return absl::FailedPreconditionError("the model-loader has no tokenizer.json");
  }
  const StructuredSettings& settings = *draw.sampling->structured;
  auto found = places_.find(draw.sequence_id);
  if (found != places_.end() && (found->second.sampling != draw.sampling ||
                                 found->second.num_taken > draw.answer_tokens.size())) {
    places_.erase(found);
    found = places_.end();
  }
  if (found == places_.end()) {
    // So that what sequences had that have ended gives way to what this one has.
    Forget();
    Place place{draw.sampling, 0, !settings.begin_after_token_id.has_value(), nullptr, {}};
    found = places_.emplace(draw.sequence_id, std::move(place)).first;
  }
  Place& place = found->second;
  for (; place.num_taken < draw.answer_tokens.size(); ++place.num_taken) {
    const uint32_t token = draw.answer_tokens[place.num_taken];
    if (!place.begun) {
      place.begun = token == settings.begin_after_token_id;
      continue;
    }
    ASSIGN_OR_RETURN(structured::ConstraintMatcher* const matcher, MatcherOf(&place));
    if (!matcher->Accept(token)) {
      return absl::InternalError(absl::StrCat("token ", token, " at ", place.num_taken,
                                              " of the answer does not keep to it"));
    }
  }
  return &place;
}

absl::StatusOr<DrawTokens> DrawConstraints::TokensFor(const DrawRow& draw) {
  ASSIGN_OR_RETURN(Place* const place, PlaceOf(draw));
  const StructuredSettings& settings = *draw.sampling->structured;
  const size_t vocab_size = vocabulary_->vocab_size();
  DrawTokens out;
  TokenMask mask;
  if (place->begun) {
    ASSIGN_OR_RETURN(structured::ConstraintMatcher* const matcher, MatcherOf(place));
    mask = Restrict(*matcher->AllowedTokens(), draw);
    compiled_.NoteUse(*place->constraint);
  } else {
    mask.assign((vocab_size + 63) / 64, ~uint64_t{0});
    ClearTokens(settings.end_token_ids, &mask);
    mask = Restrict(mask, draw);
  }
  const size_t count = CountOf(mask);
  if (count == 0) {
    return absl::InvalidArgumentError(draw.sampling->allowed_token_ids.empty()
                                          ? "no token can follow"
                                          : "none of allowed_token_ids can follow");
  }
  if (count <= kFewTokens) {
    AppendTokens(mask, 0, vocab_size, &out.allowed);
  } else {
    AppendTokens(mask, ~uint64_t{0}, vocab_size, &out.masked);
  }
  return out;
}

}  // namespace baton::stage
