#include "common/tokenizer/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/tokenizer/recent_characters.h"
#include "common/utf8/utf8.h"

namespace baton {

absl::StatusOr<PreTokenizer> PreTokenizer::Create(absl::Span<const SplitSpec> splits) {
  PreTokenizer pre_tokenizer;
  for (const SplitSpec& split : splits) {
    auto pattern =
        split.literal ? Pattern::FromText(split.pattern) : Pattern::FromOniguruma(split.pattern);
    if (!pattern.ok()) {
      return Annotate(pattern.status(),
                      absl::StrCat("pre_tokenizer split ", pre_tokenizer.steps_.size()));
    }
    pre_tokenizer.steps_.push_back({*std::move(pattern), split.behavior, split.invert});
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
  size_t added = 0;  // bytes of `alone` that are in pieces already
  size_t start = 0;  // where the next search begins
  std::optional<size_t> match_end;
  while (start <= alone.size()) {
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
