#include "services/gateway/answers/collected_choice.h"

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

// What a call costs beside its texts, in the answer too, about.
constexpr size_t kCallBytes = 512;

}  // namespace

void ChoiceEnd::Add(const SequenceUpdate& update) {
  has_calls_ = has_calls_ || !update.tool_calls.empty();
  if (update.finish_reason == v1::FINISH_REASON_UNSPECIFIED) return;
  stop_string_ = update.stop_string;
  stop_token_id_ = update.stop_token_id;
  if (update.finish_reason == v1::FINISH_REASON_LENGTH) {
    end_ = AnswerEnd::kLength;
  } else {
    end_ = has_calls_ ? AnswerEnd::kToolCalls : AnswerEnd::kStop;
  }
}

size_t CollectedChoice::Add(const SequenceUpdate& update) {
  size_t bytes = update.reasoning.size() + update.content.size();
  reasoning.append(update.reasoning);
  AppendInOrder(update.content, update.tool_calls, &content, &calls);
  for (const ToolCallPiece& piece : update.tool_calls) {
    if (piece.begins) bytes += kCallBytes + piece.name.size();
    bytes += piece.arguments.size();
  }
  end.Add(update);
  return bytes;
}

}  // namespace baton::gateway
