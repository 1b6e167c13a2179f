#include "services/gateway/answers/interval_writer.h"

#include <utility>

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

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
  SequenceUpdate& held = held_[choice];
  Append(update, &held);
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  if (!update.first && !ends && held.tokens.size() < interval_) return;
  writer_->Delta(choice, std::exchange(held, {}), usage, events);
}

}  // namespace baton::gateway
