#include "common/tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "common/status/status_macros.h"
#include "common/tokenizer/recent_characters.h"
#include "common/utf8/utf8.h"

namespace baton {
namespace {

constexpr size_t kMostDigits = 3;

// A place for each text of one to three ASCII digits; none for other texts.
std::optional<size_t> NumberIndex(absl::string_view text) {
  if (text.empty() || text.size() > kMostDigits) return std::nullopt;
  size_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<size_t>(c - '0');
  }
  constexpr size_t kFirst[] = {0, 0, 10, 110};  // by the number of digits
  return kFirst[text.size()] + value;
}

}  // namespace

PreTokenizer::ShortNumberSet PreTokenizer::NumbersWithoutMatch(const Pattern& pattern) {
  ShortNumberSet without;
  Pattern::Matcher matcher(pattern);
  size_t end = 10;
  for (size_t digits = 1; digits <= kMostDigits; ++digits, end *= 10) {
    for (size_t value = 0; value < end; ++value) {
      const std::string text = absl::StrFormat("%0*d", static_cast<int>(digits), value);
      const auto found = matcher.Find(text, 0);
      if (!found.ok()) return without;  // whoever meets it reports it
      without[*NumberIndex(text)] = !found->has_value();
    }
  }
  return without;
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(absl::Span<const SplitSpec> splits) {
  PreTokenizer pre_tokenizer;
  for (const SplitSpec& split : splits) {
    auto pattern =
        split.literal ? Pattern::FromText(split.pattern) : Pattern::FromOniguruma(split.pattern);
    if (!pattern.ok()) {
      return Annotate(pattern.status(),
                      absl::StrCat("pre_tokenizer split ", pre_tokenizer.steps_.size()));
    }
    const ShortNumberSet leaves_alone = NumbersWithoutMatch(*pattern);
    pre_tokenizer.steps_.push_back(
        {*std::move(pattern), split.behavior, split.invert, leaves_alone});
  }
  return pre_tokenizer;
}

PreTokenizer::Cutter::Cutter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  matchers_.reserve(pre_tokenizer.steps_.size());
  for (const Step& step : pre_tokenizer.steps_) matchers_.emplace_back(step.pattern);
}

absl::StatusOr<absl::Span<const ByteRange>> PreTokenizer::Cutter::Cut(absl::string_view text) {
  if (ReplaceRecentCharacters(text, &replaced_)) text = replaced_;
  pieces_.clear();
  if (!text.empty()) pieces_.push_back({0, text.size()});
  for (size_t step = 0; step < pre_tokenizer_.steps_.size(); ++step) {
    next_.clear();
    for (const ByteRange& piece : pieces_) {
      const absl::Status status = CutPiece(step, text, piece);
      if (!status.ok()) return Annotate(status, absl::StrCat("pre_tokenizer split ", step));
    }
    pieces_.swap(next_);
  }
  return absl::MakeConstSpan(pieces_);
}

absl::Status PreTokenizer::Cutter::CutPiece(size_t step, absl::string_view text,
                                            const ByteRange& piece) {
  const absl::string_view alone = text.substr(piece.begin, piece.end - piece.begin);
  const Step& how = pre_tokenizer_.steps_[step];
  const std::optional<size_t> number = NumberIndex(alone);
  if (number.has_value() && how.leaves_alone[*number]) {
    Add(step, /*is_match=*/false, piece.begin, piece.end);
    return absl::OkStatus();
  }
  const size_t last_start = alone.size() - (how.pattern.may_match_nothing() ? 0 : 1);
  size_t added = 0;  // bytes of `alone` that are in pieces already
  size_t start = 0;  // where the next search begins
  std::optional<size_t> match_end;
  while (start <= last_start) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> found, matchers_[step].Find(alone, start));
    if (!found.has_value()) break;
    const ByteRange& match = *found;
    if (match.begin == match.end && match_end == match.end) {
      // An empty match right after a match does not count; the search goes on one character later.
      if (start >= alone.size()) break;
      start += NextUtf8(alone.substr(start)).length;
      continue;
    }
    Add(step, /*is_match=*/false, piece.begin + added, piece.begin + match.begin);
    Add(step, /*is_match=*/true, piece.begin + match.begin, piece.begin + match.end);
    added = start = match.end;
    match_end = match.end;
  }
  Add(step, /*is_match=*/false, piece.begin + added, piece.end);
  return absl::OkStatus();
}

void PreTokenizer::Cutter::Add(size_t step, bool is_match, size_t begin, size_t end) {
  if (begin == end) return;
  const Step& how = pre_tokenizer_.steps_[step];
  if (how.behavior == SplitBehavior::kRemoved && is_match != how.invert) return;
  next_.push_back({begin, end});
}

}  // namespace baton
