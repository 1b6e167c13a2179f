#include "services/gateway/answers/interval_writer.h"

#include <utility>

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

// What a token, and each log-probability beside it, takes in memory, about.
constexpr size_t kTokenBytes = 64;
constexpr size_t kLogprobBytes = 48;

size_t BytesOf(const SequenceUpdate& update) {
  size_t num_bytes = update.content.size() + update.reasoning.size();
  for (const ToolCallPiece& piece : update.tool_calls) {
    num_bytes += sizeof(piece) + piece.name.size() + piece.arguments.size();
  }
  for (const v1::GeneratedToken& token : update.tokens) {
    num_bytes += kTokenBytes;
    if (!token.has_logprobs()) continue;
    num_bytes += kLogprobBytes * (1 + static_cast<size_t>(token.logprobs().top_size()));
  }
  for (const v1::PositionLogprobs& position : update.prompt_logprobs) {
    num_bytes += kLogprobBytes * (1 + static_cast<size_t>(position.top_size()));
  }
  return num_bytes;
}

// Appends what came later; `held` is not the last update.
void Append(const SequenceUpdate& later, SequenceUpdate* held) {
  held->reasoning.append(later.reasoning);
  AppendInOrder(later.content, later.tool_calls, &held->content, &held->tool_calls);
  held->tokens.insert(held->tokens.end(), later.tokens.begin(), later.tokens.end());
  held->prompt_logprobs.insert(held->prompt_logprobs.end(), later.prompt_logprobs.begin(),
                               later.prompt_logprobs.end());
  held->first |= later.first;
  held->finish_reason = later.finish_reason;
  held->stop_string = later.stop_string;
  held->stop_token_id = later.stop_token_id;
}

}  // namespace

void IntervalWriter::Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                           std::string* events) {
  Held& held = held_[choice];
  Append(update, &held.update);
  held.usage = usage;
  held.num_bytes += BytesOf(update);
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  const bool full = held.update.tokens.size() >= interval_ || held.num_bytes > kMaxHeldBytes;
  if (!update.first && !ends && !full) return;
  writer_->Delta(choice, std::exchange(held, {}).update, usage, events);
}

void IntervalWriter::Flush(std::string* events) {
  for (size_t choice = 0; choice < held_.size(); ++choice) {
    if (held_[choice].update.tokens.empty()) continue;
    const Held held = std::exchange(held_[choice], {});
    writer_->Delta(choice, held.update, held.usage, events);
  }
  writer_->Flush(events);
}

}  // namespace baton::gateway
