#include "services/gateway/text/reasoning_parser.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kOpen = "<think>";
constexpr absl::string_view kClose = "</think>";

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// Length of the longest end of `text` that begins `tag` and is shorter than it.
size_t TagBegun(absl::string_view text, absl::string_view tag) {
  for (size_t length = std::min(text.size(), tag.size() - 1); length > 0; --length) {
    if (absl::StartsWith(tag, text.substr(text.size() - length))) return length;
  }
  return 0;
}

}  // namespace

absl::StatusOr<ReasoningFormat> ParseReasoningFormat(absl::string_view name) {
  if (name.empty() || name == "none") return ReasoningFormat::kNone;
  if (name == "deepseek_r1" || name == "deepseek_v3") return ReasoningFormat::kDeepSeekR1;
  return absl::InvalidArgumentError(absl::StrCat("unknown reasoning parser \"", name,
                                                 "\"; known: none, deepseek_r1, deepseek_v3"));
}

bool PromptOpensReasoning(absl::string_view prompt) {
  const size_t open = prompt.rfind(kOpen);
  return open != absl::string_view::npos && prompt.find(kClose, open) == absl::string_view::npos;
}

absl::string_view TextOf(ReasoningTag tag) { return tag == ReasoningTag::kOpen ? kOpen : kClose; }

ReasoningParser::ReasoningParser(const Options& options)
    : options_(options),
      state_(options.format == ReasoningFormat::kNone ? State::kContent : State::kStart) {}

bool ReasoningParser::in_reasoning() const {
  if (state_ == State::kStart) return options_.starts_inside;
  return state_ == State::kReasoning;
}

// Whether a spelled opening tag, of which no NoteTag tells, may stand before this byte.
bool ReasoningParser::MayHaveOpened(size_t begin) const {
  return !options_.open_is_token && begin >= kOpen.size();
}

void ReasoningParser::NoteTag(ReasoningTag tag, size_t begin, size_t end) {
  if (tag == ReasoningTag::kOpen) {
    if (!open_) open_ = {begin, end};
  } else if (!close_ && (options_.starts_inside || open_ || MayHaveOpened(begin))) {
    close_ = {begin, end};
  }
}

ReasoningDelta ReasoningParser::Push(absl::string_view piece) {
  ReasoningDelta delta;
  held_.append(piece.data(), piece.size());
  Step(delta, /*at_end=*/false);
  return delta;
}

ReasoningDelta ReasoningParser::Flush() {
  ReasoningDelta delta;
  Step(delta, /*at_end=*/true);
  return delta;
}

void ReasoningParser::Step(ReasoningDelta& delta, bool at_end) {
  if (state_ == State::kStart) StepStart(at_end);
  if (state_ == State::kReasoning) StepReasoning(delta, at_end);
  if (state_ == State::kContent) delta.content += std::exchange(held_, "");
}

void ReasoningParser::Drop(size_t num_bytes) {
  held_.erase(0, num_bytes);
  num_dropped_ += num_bytes;
}

// Waits until the first characters that are no white space are known to be the opening tag or not.
void ReasoningParser::StepStart(bool at_end) {
  const auto first = std::find_if_not(held_.begin(), held_.end(), IsSpace) - held_.begin();
  const absl::string_view text = absl::string_view(held_).substr(first);
  bool may_open = absl::StartsWith(kOpen, text);
  size_t tag_end = first + kOpen.size();
  if (options_.open_is_token) {
    const bool noted = open_ && open_->begin <= num_dropped_ + first;
    may_open = noted || text.empty();
    tag_end = noted ? open_->end - num_dropped_ : held_.size() + 1;
  }
  const bool opens =
      options_.open_is_token ? tag_end <= held_.size() : absl::StartsWith(text, kOpen);
  if (opens) {
    Drop(tag_end);
    state_ = State::kReasoning;
  } else if (at_end || !may_open) {
    state_ = options_.starts_inside ? State::kReasoning : State::kContent;
  }
}

void ReasoningParser::StepReasoning(ReasoningDelta& delta, bool at_end) {
  size_t close = absl::string_view(held_).find(kClose);  // where the tag stands, if it does
  size_t tag_bytes = kClose.size();
  size_t certain = held_.size() - (at_end ? 0 : TagBegun(held_, kClose));
  if (options_.close_is_token) {
    close = close_ ? std::max(close_->begin, num_dropped_) - num_dropped_ : held_.size();
    tag_bytes = close_ ? close_->end - close_->begin : 1;
    certain = at_end ? held_.size() : std::min(held_.size(), close);
  }
  if (close <= held_.size() && close + tag_bytes <= held_.size()) {
    delta.reasoning += held_.substr(0, close);
    Drop(close + tag_bytes);
    state_ = State::kContent;
    return;
  }
  delta.reasoning += held_.substr(0, certain);
  Drop(certain);
}

}  // namespace baton::gateway
