#include "services/stage_worker/model/draw_constraints.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/constraint.h"

namespace baton::stage {
namespace {

using structured::IsAllowed;
using structured::TokenMask;

constexpr size_t kMaskCacheBytes = size_t{256} << 20;
constexpr size_t kMostCompiled = 64;
constexpr size_t kFewSequences = 64;
// Up to here tokens are listed as allowed, above as masked: drawing from a list sorts it.
constexpr size_t kFewTokens = 2048;

// What makes two constraints the same.
std::string KeyOf(const StructuredSettings& settings) {
  const structured::Constraint& constraint = settings.constraint;
  std::string key = absl::StrCat(static_cast<int>(constraint.kind), constraint.compact ? "c" : "b");
  const auto add = [&key](const std::string& text) {
    absl::StrAppend(&key, text.size(), ":", text);
  };
  add(constraint.text);
  if (constraint.whitespace_pattern) add(*constraint.whitespace_pattern);
  absl::StrAppend(&key, "/");
  for (const std::string& choice : constraint.choices) add(choice);
  for (const uint32_t token : settings.end_token_ids) absl::StrAppend(&key, ",", token);
  return key;
}

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

DrawConstraints::DrawConstraints()
    : masks_(std::make_shared<structured::MaskCache>(kMaskCacheBytes)),
      forget_above_(kFewSequences) {}

void DrawConstraints::SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary) {
  places_.clear();
  compiled_.clear();
  vocabulary_ = std::move(vocabulary);
}

absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> DrawConstraints::Compile(
    const StructuredSettings& settings) {
  const std::string key = KeyOf(settings);
  const auto found = std::find_if(compiled_.begin(), compiled_.end(),
                                  [&key](const Compiled& known) { return known.key == key; });
  if (found != compiled_.end()) {
    compiled_.splice(compiled_.begin(), compiled_, found);
    return found->constraint;
  }
  const auto make = [&]() -> absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> {
    ASSIGN_OR_RETURN(structured::Automaton automaton,
                     structured::CompileConstraint(settings.constraint));
    return std::make_shared<structured::TokenConstraint>(std::move(automaton), vocabulary_,
                                                         settings.end_token_ids, masks_);
  };
  compiled_.push_front({key, make()});
  if (compiled_.size() > kMostCompiled) compiled_.pop_back();
  return compiled_.front().constraint;
}

void DrawConstraints::Forget() {
  if (places_.size() <= forget_above_) return;
  absl::erase_if(places_, [](const auto& place) { return place.second.sampling.use_count() == 1; });
  forget_above_ = std::max(kFewSequences, 2 * places_.size());
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
    Forget();
    ASSIGN_OR_RETURN(std::shared_ptr<structured::TokenConstraint> constraint, Compile(settings));
    Place place{draw.sampling, 0, !settings.begin_after_token_id.has_value(),
                structured::ConstraintMatcher(std::move(constraint))};
    found = places_.emplace(draw.sequence_id, std::move(place)).first;
  }
  Place& place = found->second;
  for (; place.num_taken < draw.answer_tokens.size(); ++place.num_taken) {
    const uint32_t token = draw.answer_tokens[place.num_taken];
    if (!place.begun) {
      place.begun = token == settings.begin_after_token_id;
    } else if (!place.matcher.Accept(token)) {
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
    mask = Restrict(*place->matcher.AllowedTokens(), draw);
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
