#include "services/stage_worker/execution/token_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::stage {

void TokenReader::Expect(const StepBatch& batch) {
  if (batch.draws.empty()) return;
  Expected& expected = expected_.emplace_back();
  expected.key = {batch.epoch, batch.step_id};
  for (const DrawRow& draw : batch.draws) {
    expected.tokens.push_back({.sequence_id = draw.sequence_id, .position = draw.position});
  }
}

absl::Status TokenReader::TakeUpTo(uint64_t step_id, absl::Time deadline) {
  while (!expected_.empty() && expected_.front().key.step_id <= step_id) {
    Expected next = std::move(expected_.front());
    expected_.pop_front();
    RETURN_IF_ERROR(Take(std::move(next), deadline));
  }
  return absl::OkStatus();
}

absl::Status TokenReader::Take(Expected expected, absl::Time deadline) {
  ASSIGN_OR_RETURN(const std::vector<uint32_t> ids,
                   source_->Receive(expected.key, expected.tokens.size(), deadline));
  std::vector<TokenFeedback::Token> tokens;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == kNoToken) continue;
    if (ids[i] >= vocab_size_) {
      return absl::DataLossError(absl::StrCat("token ", ids[i], " of step ", expected.key.step_id,
                                              " is outside the vocabulary of ", vocab_size_));
    }
    tokens.push_back(expected.tokens[i]);
    tokens.back().token_id = ids[i];
  }
  feedback_->Put(expected.key.step_id, std::move(tokens));
  return absl::OkStatus();
}

}  // namespace baton::stage
