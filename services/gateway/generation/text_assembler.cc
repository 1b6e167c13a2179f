#include "services/gateway/generation/text_assembler.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {

TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextOptions options)
    : options_(std::move(options)),
      open_token_(tokenizer.TokenId(TextOf(ReasoningTag::kOpen))),
      close_token_(tokenizer.TokenId(TextOf(ReasoningTag::kClose))),
      detokenizer_(tokenizer, {.skip_special_tokens = options_.skip_special_tokens}),
      stops_(options_.stops),
      reasoning_({.format = options_.reasoning,
                  .starts_inside = options_.starts_in_reasoning,
                  .open_is_token = open_token_.has_value(),
                  .close_is_token = close_token_.has_value()}),
      tools_(MakeToolCallParser(options_.tools)),
      counted_(reasoning_) {}

void TextAssembler::Push(uint32_t token_id, TextDelta* out) {
  if (stopped()) return;
  ++num_tokens_;
  const bool was_in_reasoning = counted_.in_reasoning();
  if (std::exchange(holds_token_, false)) {
    PushToken(held_token_, out);
    if (stopped()) return;
  }
  if (options_.terminal_token_ids.contains(token_id)) {
    holds_token_ = true;
    held_token_ = token_id;
    return CountReasoning(was_in_reasoning);
  }
  PushToken(token_id, out);
  CountReasoning(was_in_reasoning);
}

void TextAssembler::Finish(bool ended_by_token, TextDelta* out) {
  if (!stopped()) {
    const bool drop_held = ended_by_token && !options_.include_stop;
    if (std::exchange(holds_token_, false) && !drop_held) {
      PushToken(held_token_, out);
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

void TextAssembler::PushToken(uint32_t token_id, TextDelta* out) {
  const std::string text = detokenizer_.Push(token_id);
  num_text_bytes_ += text.size();
  if (token_id != open_token_ && token_id != close_token_) return PushText(text, out);
  const ReasoningTag tag = token_id == open_token_ ? ReasoningTag::kOpen : ReasoningTag::kClose;
  // Its text, unless special tokens have none.
  const size_t tag_bytes = absl::EndsWith(text, TextOf(tag)) ? TextOf(tag).size() : 0;
  for (ReasoningParser* const parser : {&counted_, &reasoning_}) {
    parser->NoteTag(tag, num_text_bytes_ - tag_bytes, num_text_bytes_);
  }
  PushText(text, out);
}

void TextAssembler::PushText(absl::string_view text, TextDelta* out) {
  counted_.Push(text);
  const std::string certain =
      text.empty() ? "" : stops_.Push(text, num_tokens_ >= options_.min_tokens);
  Append(reasoning_.Push(certain), out);
}

}  // namespace baton::gateway
