#include "services/gateway/generation/text_assembler.h"

#include <utility>
#include <vector>

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextOptions options)
    : options_(std::move(options)),
      detokenizer_(tokenizer, {.skip_special_tokens = options_.skip_special_tokens}),
      stops_(options_.stops),
      reasoning_({.format = options_.reasoning, .starts_inside = options_.starts_in_reasoning}),
      tools_(MakeToolCallParser(options_.tools)),
      counted_({.format = options_.reasoning, .starts_inside = options_.starts_in_reasoning}) {}

void TextAssembler::Push(uint32_t token_id, TextDelta* out) {
  if (stopped()) return;
  ++num_tokens_;
  const bool was_in_reasoning = counted_.in_reasoning();
  if (std::exchange(holds_token_, false)) {
    PushText(detokenizer_.Push(held_token_), out);
    if (stopped()) return;
  }
  if (options_.terminal_token_ids.contains(token_id)) {
    holds_token_ = true;
    held_token_ = token_id;
    return CountReasoning(was_in_reasoning);
  }
  PushText(detokenizer_.Push(token_id), out);
  CountReasoning(was_in_reasoning);
}

void TextAssembler::Finish(bool ended_by_token, TextDelta* out) {
  if (!stopped()) {
    const bool drop_held = ended_by_token && !options_.include_stop;
    if (std::exchange(holds_token_, false) && !drop_held) {
      PushText(detokenizer_.Push(held_token_), out);
    }
    PushText(detokenizer_.Flush(), out);
    Append(reasoning_.Push(stops_.Flush()), out);
  }
  Append(reasoning_.Flush(), out);
  if (tools_ == nullptr) return;
  ToolDelta delta;
  tools_->Flush(&delta);
  AppendTools(std::move(delta), out);
}

// A token of which it was said too early that it is none of the reasoning, since an opening tag was
// not yet complete, is counted when it is.
void TextAssembler::CountReasoning(bool was_in_reasoning) {
  if (was_in_reasoning) {
    ++num_reasoning_tokens_;
  } else if (counted_.in_reasoning()) {
    num_reasoning_tokens_ = num_tokens_;
  }
}

void TextAssembler::Append(const ReasoningDelta& delta, TextDelta* out) {
  out->reasoning.append(delta.reasoning);
  if (delta.content.empty()) return;
  if (tools_ == nullptr) {
    out->content.append(delta.content);
    return;
  }
  ToolDelta found;
  tools_->Push(delta.content, &found);
  AppendTools(std::move(found), out);
}

void TextAssembler::AppendTools(ToolDelta&& found, TextDelta* out) {
  if (!options_.parallel_tool_calls) {
    std::erase_if(found.calls, [](const ToolCallPiece& piece) { return piece.index > 0; });
  }
  AppendInOrder(found.content, std::move(found.calls), &out->content, &out->tool_calls);
}

void TextAssembler::PushText(absl::string_view text, TextDelta* out) {
  if (text.empty()) return;
  counted_.Push(text);
  const std::string certain = stops_.Push(text, num_tokens_ >= options_.min_tokens);
  if (!certain.empty()) Append(reasoning_.Push(certain), out);
}

}  // namespace baton::gateway
