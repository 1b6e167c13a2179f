#include "services/gateway/text/deepseek_tool_parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kFence = "```";
constexpr char kBlanks[] = " \t\r\n";
constexpr char kBlanksAndFences[] = " \t\r\n`";
// White space and fences before a tag are looked for so far back, no further.
constexpr size_t kMaxTrimmedBytes = 64;

// Length of the longest end of `text` that begins one of `tags` and is shorter than it.
size_t BegunTagBytes(absl::string_view text, std::initializer_list<absl::string_view> tags) {
  size_t longest = 0;
  for (absl::string_view tag : tags) {
    for (size_t length = std::min(text.size(), tag.size() - 1); length > longest; --length) {
      if (absl::StartsWith(tag, text.substr(text.size() - length))) longest = length;
    }
  }
  return longest;
}

// Bytes at the end of `text` that are all in `set`; kMaxTrimmedBytes at most.
size_t TrailingBytes(absl::string_view text, absl::string_view set) {
  size_t length = 0;
  while (length < std::min(text.size(), kMaxTrimmedBytes) &&
         set.find(text[text.size() - 1 - length]) != absl::string_view::npos) {
    ++length;
  }
  return length;
}

// `text` without white space at its end, and without a fence that stands before it.
absl::string_view TrimEnd(absl::string_view text, bool fenced) {
  const size_t most = TrailingBytes(text, fenced ? kBlanksAndFences : kBlanks);
  const absl::string_view kept = text.substr(0, text.size() - most);
  absl::string_view tail = absl::StripTrailingAsciiWhitespace(text.substr(kept.size()));
  if (fenced && absl::ConsumeSuffix(&tail, kFence)) tail = absl::StripTrailingAsciiWhitespace(tail);
  return text.substr(0, kept.size() + tail.size());
}

// Sets `length` to where the arguments begin after the line of the name, a fence's own line
// skipped. Returns how far it had to read to know; npos: not known yet. `end`: of the call, if it
// is there.
size_t SkipFence(absl::string_view text, size_t line_end, size_t end, size_t* length) {
  *length = line_end;
  if (line_end == end)
    return end + DeepSeekToolParser::kCallEnd.size();  // a call without arguments
  const size_t first = text.find_first_not_of(kBlanks, line_end);
  if (first == absl::string_view::npos) return first;
  const absl::string_view rest = text.substr(first);
  if (!absl::StartsWith(rest, kFence)) {
    return absl::StartsWith(kFence, rest) ? absl::string_view::npos : first + kFence.size();
  }
  *length = std::min(text.find('\n', first), end);
  return *length == end && end != absl::string_view::npos
             ? end + DeepSeekToolParser::kCallEnd.size()
             : *length;
}

bool IsName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c != '<' && c != '`' && !absl::ascii_isspace(static_cast<unsigned char>(c));
  });
}

}  // namespace

void DeepSeekToolParser::Push(absl::string_view piece, ToolDelta* delta) {
  held_.append(piece.data(), piece.size());
  while (Step(/*at_end=*/false, delta)) {
  }
}

void DeepSeekToolParser::Flush(ToolDelta* delta) {
  while (Step(/*at_end=*/true, delta)) {
  }
}

bool DeepSeekToolParser::Step(bool at_end, ToolDelta* delta) {
  switch (state_) {
    case State::kContent:
      return StepContent(at_end, delta);
    case State::kBetween:
      return StepBetween(at_end, delta);
    case State::kHeader:
      return StepHeader(at_end, delta);
    case State::kArguments:
      return StepArguments(at_end, delta);
  }
  return false;
}

bool DeepSeekToolParser::StepContent(bool at_end, ToolDelta* delta) {
  if (skips_space_) {
    held_.erase(0, std::min(held_.find_first_not_of(kBlanks), held_.size()));
    if (held_.empty()) return false;
  }
  const absl::string_view text = held_;
  const size_t calls = text.find(kCallsBegin);
  const size_t call = text.find(kCallBegin);
  const size_t found = std::min(calls, call);
  if (found == absl::string_view::npos) {
    size_t certain = text.size();
    if (!at_end) {
      certain -= BegunTagBytes(text, {kCallsBegin, kCallBegin});
      certain -= TrailingBytes(text.substr(0, certain), kBlanks);
    }
    if (certain > 0) skips_space_ = false;
    absl::StrAppend(&delta->content, text.substr(0, certain));
    held_.erase(0, certain);
    return false;
  }
  absl::StrAppend(&delta->content, TrimEnd(text.substr(0, found), /*fenced=*/false));
  skips_space_ = false;
  if (found == calls) unshown_ = std::string(kCallsBegin);
  state_ = found == calls ? State::kBetween : State::kHeader;
  held_.erase(0, found + (found == calls ? kCallsBegin : kCallBegin).size());
  return true;
}

bool DeepSeekToolParser::StepBetween(bool at_end, ToolDelta* delta) {
  held_.erase(0, std::min(held_.find_first_not_of(kBlanks), held_.size()));
  const absl::string_view text = held_;
  if (absl::StartsWith(text, kCallBegin)) {
    held_.erase(0, kCallBegin.size());
    state_ = State::kHeader;
    return true;
  }
  if (absl::StartsWith(text, kCallsEnd) && num_calls_ > 0) {
    held_.erase(0, kCallsEnd.size());
    skips_space_ = true;
    state_ = State::kContent;
    return true;
  }
  const bool may_be_tag = absl::StartsWith(kCallBegin, text) || absl::StartsWith(kCallsEnd, text);
  if (may_be_tag && !at_end) return false;
  BackToContent("", delta);
  return true;
}

// What seemed to be a call is none: its tags are text.
void DeepSeekToolParser::BackToContent(absl::string_view tag, ToolDelta* delta) {
  delta->content.append(std::exchange(unshown_, ""));
  absl::StrAppend(&delta->content, tag);
  state_ = State::kContent;
}

bool DeepSeekToolParser::StepHeader(bool at_end, ToolDelta* delta) {
  std::string name;
  size_t length = 0;
  Header header = ReadHeader(&name, &length);
  if (header == Header::kUnknown && (at_end || held_.size() > kMaxHeaderBytes)) {
    header = Header::kNone;
  }
  switch (header) {
    case Header::kUnknown:
      return false;
    case Header::kNone:
      BackToContent(kCallBegin, delta);
      return true;
    case Header::kComplete:
      break;
  }
  held_.erase(0, length);
  BeginCall(std::move(name), delta);
  return true;
}

// Complete only if all that tells so lies within the bound: whoever has read up to the bound
// without an answer may give up then.
DeepSeekToolParser::Header DeepSeekToolParser::ReadHeader(std::string* name, size_t* length) const {
  const absl::string_view text = held_;
  const size_t end = text.find(kCallEnd);
  const size_t separator = text.find(kSeparator);
  if (separator == absl::string_view::npos || end < separator) {
    return end == absl::string_view::npos ? Header::kUnknown : Header::kNone;
  }
  size_t num_read = separator + kSeparator.size();
  *length = num_read;
  absl::string_view shown_name = text.substr(0, separator);
  if (syntax_ == Syntax::kFenced) {
    const size_t line_end = std::min(text.find('\n', num_read), end);
    if (line_end == absl::string_view::npos) return Header::kUnknown;
    shown_name = text.substr(num_read, line_end - num_read);
    num_read = SkipFence(text, line_end, end, length);
    if (num_read == absl::string_view::npos) return Header::kUnknown;
  }
  *name = std::string(absl::StripAsciiWhitespace(shown_name));
  return IsName(*name) && num_read <= kMaxHeaderBytes ? Header::kComplete : Header::kNone;
}

void DeepSeekToolParser::BeginCall(std::string name, ToolDelta* delta) {
  delta->calls.push_back({.index = num_calls_++,
                          .begins = true,
                          .name = std::move(name),
                          .content_offset = delta->content.size()});
  unshown_.clear();
  has_arguments_ = false;
  state_ = State::kArguments;
}

bool DeepSeekToolParser::StepArguments(bool at_end, ToolDelta* delta) {
  if (!has_arguments_) {
    held_.erase(0, std::min(held_.find_first_not_of(kBlanks), held_.size()));
  }
  const bool fenced = syntax_ == Syntax::kFenced;
  const absl::string_view text = held_;
  const size_t call_end = text.find(kCallEnd);
  const size_t end = std::min(call_end, text.find(kCallsEnd));
  if (end == absl::string_view::npos && !at_end) {
    size_t certain = text.size() - BegunTagBytes(text, {kCallEnd, kCallsEnd});
    certain -= TrailingBytes(text.substr(0, certain), fenced ? kBlanksAndFences : kBlanks);
    AppendArguments(text.substr(0, certain), delta);
    held_.erase(0, certain);
    return false;
  }
  AppendArguments(TrimEnd(text.substr(0, end), fenced), delta);
  const bool complete = end != absl::string_view::npos;
  held_.erase(0, complete && end == call_end ? end + kCallEnd.size() : std::min(end, held_.size()));
  if (complete && !has_arguments_) AppendArguments("{}", delta);  // clients read them as JSON
  state_ = State::kBetween;
  return complete;
}

void DeepSeekToolParser::AppendArguments(absl::string_view text, ToolDelta* delta) {
  if (text.empty()) return;
  has_arguments_ = true;
  const uint32_t index = num_calls_ - 1;
  if (delta->calls.empty() || delta->calls.back().index != index) {
    delta->calls.push_back({.index = index, .content_offset = delta->content.size()});
  }
  delta->calls.back().arguments.append(text.data(), text.size());
}

}  // namespace baton::gateway
