#include "services/gateway/generation/text_assembler.h"

#include <utility>

namespace baton::gateway {
namespace {

void Append(ReasoningDelta&& delta, ReasoningDelta* out) {
  out->reasoning.append(delta.reasoning);
  out->content.append(delta.content);
}

}  // namespace

TextAssembler::TextAssembler(const Tokenizer& tokenizer, TextOptions options)
    : options_(std::move(options)),
      detokenizer_(tokenizer, {.skip_special_tokens = options_.skip_special_tokens}),
      stops_(options_.stops),
      reasoning_({.format = options_.reasoning, .starts_inside = options_.starts_in_reasoning}) {}

void TextAssembler::Push(uint32_t token_id, ReasoningDelta* out) {
  if (stopped()) return;
  ++num_tokens_;
  if (std::exchange(holds_token_, false)) {
    PushText(detokenizer_.Push(held_token_), out);
    if (stopped()) return;
  }
  if (options_.terminal_token_ids.contains(token_id)) {
    holds_token_ = true;
    held_token_ = token_id;
    return;
  }
  PushText(detokenizer_.Push(token_id), out);
}

void TextAssembler::Finish(bool ended_by_token, ReasoningDelta* out) {
  if (!stopped()) {
    const bool drop_held = ended_by_token && !options_.include_stop;
    if (std::exchange(holds_token_, false) && !drop_held) {
      PushText(detokenizer_.Push(held_token_), out);
    }
    PushText(detokenizer_.Flush(), out);
    Append(reasoning_.Push(stops_.Flush()), out);
  }
  Append(reasoning_.Flush(), out);
}

void TextAssembler::PushText(absl::string_view text, ReasoningDelta* out) {
  if (text.empty()) return;
  const std::string certain = stops_.Push(text, num_tokens_ >= options_.min_tokens);
  if (!certain.empty()) Append(reasoning_.Push(certain), out);
}

}  // namespace baton::gateway
