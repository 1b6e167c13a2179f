// From the tokens of one sequence to the text that its client sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

#include "common/tokenizer/incremental_detokenizer.h"
#include "common/tokenizer/tokenizer.h"
#include "services/gateway/text/reasoning_parser.h"
#include "services/gateway/text/stop_strings.h"
#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

struct TextOptions {
  std::shared_ptr<const StopAutomaton> stops;  // null: none
  bool include_stop = false;                   // of a token that ends the sequence
  uint32_t min_tokens = 0;  // a stop string that is complete before this many does not count
  bool skip_special_tokens = true;
  ReasoningFormat reasoning = ReasoningFormat::kNone;
  bool starts_in_reasoning = false;
  ToolCallFormat tools = ToolCallFormat::kNone;  // of the calls to look for in the answer
  bool parallel_tool_calls = true;               // else only the first call counts
  // Tokens that may end the sequence; the one that does is no part of the text.
  absl::flat_hash_set<uint32_t> terminal_token_ids;
};

// What a token made certain; whole characters.
struct TextDelta {
  std::string reasoning;
  std::string content;
  std::vector<ToolCallPiece> tool_calls;  // at their places in `content`
};

// token -> characters -> stop strings -> reasoning split -> tool calls. One per sequence; not
// thread-safe.
class TextAssembler {
 public:
  // `tokenizer` must outlive this.
  TextAssembler(const Tokenizer& tokenizer, TextOptions options);

  // Adds the text that the token makes certain to `out`. After stopped() tokens are ignored.
  void Push(uint32_t token_id, TextDelta* out);
  // The end: adds what was held back. `ended_by_token`: the last token ended the sequence.
  void Finish(bool ended_by_token, TextDelta* out);

  // A stop string is complete; the token pushed last is the last of the answer.
  bool stopped() const { return stops_.stopped(); }
  absl::string_view matched_stop() const { return stops_.matched_stop(); }
  // Tokens up to and including the one that closed the reasoning; stop strings hold none back.
  uint32_t num_reasoning_tokens() const { return num_reasoning_tokens_; }

 private:
  void PushToken(uint32_t token_id, TextDelta* out);
  void PushText(absl::string_view text, TextDelta* out);
  void Append(const ReasoningDelta& delta, TextDelta* out);
  void AppendTools(ToolDelta&& found, TextDelta* out);
  void CountReasoning(bool was_in_reasoning);

  const TextOptions options_;
  // The tags of the reasoning, if they are tokens.
  const std::optional<uint32_t> open_token_;
  const std::optional<uint32_t> close_token_;
  IncrementalDetokenizer detokenizer_;
  size_t num_text_bytes_ = 0;  // of the tokens pushed
  StopStringMatcher stops_;
  ReasoningParser reasoning_;
  std::unique_ptr<ToolCallParser> tools_;  // null: none are looked for
  ReasoningParser counted_;                // as reasoning_, but ahead of the stop strings
  // A token that may be the end waits here for the next one or for the end.
  uint32_t num_tokens_ = 0;
  bool holds_token_ = false;
  uint32_t held_token_ = 0;
  uint32_t num_reasoning_tokens_ = 0;
};

}  // namespace baton::gateway
