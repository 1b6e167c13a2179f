#include "services/stage_worker/model/draw_constraints.h"

#include <algorithm>
#include <array>
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

// Which bits of a byte are set: `count` places, ascending; what stands behind them means nothing.
struct BitPlaces {
  std::array<uint32_t, 8> places = {};
  uint32_t count = 0;
};

constexpr std::array<BitPlaces, 256> kBitPlaces = [] {
  std::array<BitPlaces, 256> out = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (uint32_t bit = 0; bit < 8; ++bit) {
      if ((byte >> bit & 1) != 0) out[byte].places[out[byte].count++] = bit;
    }
  }
  return out;
}();

// How many tokens are allowed; `most` + 1 or more if it is more than `most`.
size_t CountUpTo(const TokenMask& mask, size_t most) {
  constexpr uint64_t kPairs = 0x5555'5555'5555'5555;
  constexpr uint64_t kFours = 0x3333'3333'3333'3333;
  constexpr uint64_t kBytes = 0x0F0F'0F0F'0F0F'0F0F;
  constexpr uint64_t kShorts = 0x00FF'00FF'00FF'00FF;
  constexpr size_t kWords = 31;  // whose counts a byte holds
  size_t count = 0;
  for (size_t begin = 0; begin < mask.size() && count <= most; begin += kWords) {
    const size_t end = std::min(begin + kWords, mask.size());
    uint64_t bytes = 0;  // eight counts; without std::popcount, which is a call on any x86-64
    for (size_t i = begin; i < end; ++i) {
      if (mask[i] == 0) continue;  // nearly all, where few tokens are allowed
      const uint64_t pairs = mask[i] - (mask[i] >> 1 & kPairs);
      const uint64_t fours = (pairs & kFours) + (pairs >> 2 & kFours);
      bytes += (fours + (fours >> 4)) & kBytes;
    }
    const uint64_t shorts = (bytes & kShorts) + (bytes >> 8 & kShorts);
    count += shorts * 0x0001'0001'0001'0001 >> 48;
  }
  return count;
}

// Writes the tokens whose bit of `word` is set, ascending; the end of what it wrote. `first`: of
// the word's lowest bit.
uint32_t* ListBits(uint64_t word, uint32_t first, uint32_t* end) {
  for (; word != 0; word &= word - 1)
    *end++ = first + static_cast<uint32_t>(std::countr_zero(word));
  return end;
}

// The same for a word of which most bytes have a bit set; writes over eight places behind the end.
uint32_t* ListBytes(uint64_t word, uint32_t first, uint32_t* end) {
  for (uint32_t shift = 0; shift < 64; shift += 8) {
    const BitPlaces& byte = kBitPlaces[word >> shift & 0xff];
    for (size_t k = 0; k < 8; ++k) end[k] = first + shift + byte.places[k];
    end += byte.count;
  }
  return end;
}

// The tokens that are allowed, of which there are `num_allowed`, or all others, ascending. There
// may be 100,000 of them.
std::vector<uint32_t> ListTokens(const TokenMask& mask, bool allowed, size_t num_allowed,
                                 size_t vocab_size) {
  const size_t num_listed = allowed ? num_allowed : mask.size() * 64 - num_allowed;
  const bool is_dense = num_listed > 8 * mask.size();
  std::vector<uint32_t> tokens;
  tokens.reserve(num_listed);
  // By way of a piece of the stack: a list that is to be written over would be cleared first.
  constexpr size_t kWords = 16;
  std::array<uint32_t, kWords * 64 + 8> piece;
  for (size_t begin = 0; begin < mask.size(); begin += kWords) {
    uint32_t* end = piece.data();
    for (size_t i = begin; i < std::min(begin + kWords, mask.size()); ++i) {
      const uint64_t word = allowed ? mask[i] : ~mask[i];
      const auto first = static_cast<uint32_t>(i * 64);
      end = is_dense ? ListBytes(word, first, end) : ListBits(word, first, end);
    }
    tokens.insert(tokens.end(), piece.data(), end);
  }
  while (!tokens.empty() && tokens.back() >= vocab_size) tokens.pop_back();
  return tokens;
}

void ClearTokens(const std::vector<uint32_t>& tokens, TokenMask* mask) {
  for (const uint32_t token : tokens) (*mask)[token / 64] &= ~(uint64_t{1} << (token % 64));
}

void ClearUnlessAll(const std::vector<uint32_t>& tokens, TokenMask* mask) {
  if (tokens.empty()) return;
  TokenMask cleared = *mask;
  ClearTokens(tokens, &cleared);
  if (CountUpTo(cleared, 0) > 0) *mask = std::move(cleared);
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

void DrawConstraints::Prepare(const SamplingSettings& sampling,
                              std::span<const uint32_t> answer_tokens) {
  if (sampling.structured == nullptr) return;
  auto begin = answer_tokens.begin();
  if (const std::optional<uint32_t> behind = sampling.structured->begin_after_token_id) {
    begin = std::find(begin, answer_tokens.end(), *behind);
    if (begin != answer_tokens.end()) ++begin;
  }
  compiled_.Prepare(sampling.structured, /*has_drawn=*/begin != answer_tokens.end());
}

void DrawConstraints::Forget() {
  std::erase_if(places_, [](const auto& place) { return place.second.sampling.expired(); });
}

absl::StatusOr<structured::ConstraintMatcher*> DrawConstraints::MatcherOf(const DrawRow& draw,
                                                                          Place* place,
                                                                          bool has_drawn) {
  if (!place->matcher.has_value()) {
    Forget();  // perhaps long after the place was made: in between there was the reasoning
    if (place->constraint == nullptr) {
      ASSIGN_OR_RETURN(place->constraint, compiled_.Get(draw.sampling->structured, has_drawn));
    }
    place->matcher.emplace(place->constraint);
  }
  return &*place->matcher;
}

absl::Status DrawConstraints::Ask(const DrawRow& draw, Place* place) {
  if (!place->asked.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(place->constraint, compiled_.TryGet(*place->asked, draw.sampling->structured));
  if (place->constraint != nullptr) place->asked.reset();
  return absl::OkStatus();
}

absl::StatusOr<DrawConstraints::Place*> DrawConstraints::PlaceOf(const DrawRow& draw) {
  if (vocabulary_ == nullptr) {
    return absl::FailedPreconditionError("the model-loader has no tokenizer.json");
  }
  const StructuredSettings& settings = *draw.sampling->structured;
  auto found = places_.find(draw.sequence_id);
  if (found != places_.end() && (found->second.sampling.lock() != draw.sampling ||
                                 found->second.num_taken > draw.answer_tokens.size())) {
    places_.erase(found);
    found = places_.end();
  }
  if (found == places_.end()) {
    Forget();
    Place place;
    place.sampling = draw.sampling;
    place.begun = !settings.begin_after_token_id.has_value();
    if (!place.begun && draw.answer_tokens.empty()) {
      place.asked = CompiledConstraints::KeyOf(settings);
    }
    found = places_.emplace(draw.sequence_id, std::move(place)).first;
  }
  Place& place = found->second;
  for (; place.num_taken < draw.answer_tokens.size(); ++place.num_taken) {
    const uint32_t token = draw.answer_tokens[place.num_taken];
    if (!place.begun) {
      place.begun = token == settings.begin_after_token_id;
      continue;
    }
    ASSIGN_OR_RETURN(structured::ConstraintMatcher* const matcher, MatcherOf(draw, &place, true));
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
    ASSIGN_OR_RETURN(structured::ConstraintMatcher* const matcher, MatcherOf(draw, place, false));
    mask = Restrict(*matcher->AllowedTokens(), draw);
    compiled_.NoteUse(*place->constraint);
  } else {
    RETURN_IF_ERROR(Ask(draw, place));
    mask.assign((vocab_size + 63) / 64, ~uint64_t{0});
    ClearTokens(settings.end_token_ids, &mask);
    mask = Restrict(mask, draw);
  }
  const size_t count = CountUpTo(mask, kFewTokens);
  if (count == 0) {
    return absl::InvalidArgumentError(draw.sampling->allowed_token_ids.empty()
                                          ? "no token can follow"
                                          : "none of allowed_token_ids can follow");
  }
  if (count <= kFewTokens) {
    out.allowed = ListTokens(mask, true, count, vocab_size);
  } else {
    out.masked = ListTokens(mask, false, CountUpTo(mask, mask.size() * 64), vocab_size);
  }
  return out;
}

}  // namespace baton::stage
