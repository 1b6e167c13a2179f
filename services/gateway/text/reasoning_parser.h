// Splits a model's output into reasoning and answer.
#pragma once

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

// The two texts, put together over all calls, do not depend on how the output is cut into pieces.
// - The output begins inside the reasoning when `starts_inside`; an opening tag at its very start
//   (white space before it allowed) is dropped then.
// - Otherwise it begins inside the answer, unless an opening tag comes first.
// - The first `</think>` ends the reasoning; further tags are text. No `</think>`: all is
// reasoning. One per choice; not thread-safe.
class ReasoningParser {
 public:
  struct Options {
    ReasoningFormat format = ReasoningFormat::kNone;
    bool starts_inside = true;
  };

  explicit ReasoningParser(const Options& options);

  ReasoningDelta Push(absl::string_view piece);
  // The end of the output: what was held back because it might have become a tag.
  ReasoningDelta Flush();

  // Whether the text that comes next is reasoning, as far as is known.
  bool in_reasoning() const;

 private:
  enum class State { kStart, kReasoning, kContent };

  void Step(ReasoningDelta& delta, bool at_end);
  void StepStart(bool at_end);
  void StepReasoning(ReasoningDelta& delta, bool at_end);

  const Options options_;
  State state_;
  std::string held_;
};

}  // namespace baton::gateway
