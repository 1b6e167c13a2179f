// Splits a model's output into reasoning and answer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::gateway {

enum class ReasoningFormat {
  kNone,        // everything is the answer
  kDeepSeekR1,  // <think> reasoning </think> answer
};

// From --reasoning-parser: "" and "none", "deepseek_r1", "deepseek_v3" (V3.1, whose prompts
// open the reasoning or close it: the same tags). Errors: InvalidArgument naming the value
// and those known.
absl::StatusOr<ReasoningFormat> ParseReasoningFormat(absl::string_view name);

// Whether a prompt leaves the model inside its reasoning: its last <think> is not closed.
bool PromptOpensReasoning(absl::string_view prompt);

// What a piece of output added to each side.
struct ReasoningDelta {
  std::string reasoning;
  std::string content;
};

enum class ReasoningTag { kOpen, kClose };

// "<think>" or "</think>".
absl::string_view TextOf(ReasoningTag tag);

// The two texts, put together over all calls, do not depend on how the output is cut into pieces.
// - The output begins inside the reasoning when `starts_inside`; an opening tag at its very start
//   (white space before it allowed) is dropped then.
// - Otherwise it begins inside the answer, unless an opening tag comes first.
// - The first closing tag ends the reasoning; further tags are text. No closing tag: all is
//   reasoning.
// A tag that is a token is one where NoteTag says so: other tokens that spell it are text. So is
// the end that constraints and budgets of the reasoning go by. One per choice; not thread-safe.
class ReasoningParser {
 public:
  struct Options {
    ReasoningFormat format = ReasoningFormat::kNone;
    bool starts_inside = true;
    bool open_is_token = false;
    bool close_is_token = false;
  };

  explicit ReasoningParser(const Options& options);

  // The bytes [begin, end) of the whole output, which may be none, are this tag's token. Comes
  // before the Push of the first of them.
  void NoteTag(ReasoningTag tag, size_t begin, size_t end);
  ReasoningDelta Push(absl::string_view piece);
  // The end of the output: what was held back because it might have become a tag.
  ReasoningDelta Flush();

  // Whether the text that comes next is reasoning, as far as is known.
  bool in_reasoning() const;

 private:
  enum class State { kStart, kReasoning, kContent };

  struct Span {
    size_t begin = 0;
    size_t end = 0;
  };

  bool MayHaveOpened(size_t begin) const;
  void Drop(size_t num_bytes);
  void Step(ReasoningDelta& delta, bool at_end);
  void StepStart(bool at_end);
  void StepReasoning(ReasoningDelta& delta, bool at_end);

  const Options options_;
  State state_;
  std::string held_;
  size_t num_dropped_ = 0;     // bytes of the output before held_
  std::optional<Span> open_;   // the first that was noted
  std::optional<Span> close_;  // likewise, of those that may end what is reasoning
};

}  // namespace baton::gateway
