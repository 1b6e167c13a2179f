#include "services/stage_worker/execution/token_feedback.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"
#include "common/status/status_macros.h"

namespace baton::stage {

void TokenFeedback::Put(uint64_t step_id, std::vector<Token> tokens) {
  auto token_of = std::make_shared<TokenOf>();
  for (const Token& token : tokens) token_of->emplace(token.sequence_id, token.token_id);
  const SteadyMutexLock lock(&mutex_);
  steps_[step_id] = std::move(token_of);
  new_.insert(new_.end(), tokens.begin(), tokens.end());
  while (steps_.size() > num_steps_) {
    last_dropped_ = steps_.begin()->first;
    steps_.erase(steps_.begin());
  }
}

absl::StatusOr<std::shared_ptr<const TokenFeedback::TokenOf>> TokenFeedback::Await(
    uint64_t step_id, absl::Time deadline) const {
  const SteadyMutexLock lock(&mutex_);
  const auto settled = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !aborted_.ok() || step_id <= last_dropped_ || steps_.contains(step_id);
  };
  const bool in_time = mutex_.AwaitWithDeadline(absl::Condition(&settled), deadline);
  const auto found = steps_.find(step_id);
  if (found != steps_.end()) return found->second;
  RETURN_IF_ERROR(aborted_);
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat("tokens of step ", step_id, " did not come"));
  }
  return absl::InternalError(absl::StrCat("tokens of step ", step_id, " are not kept any more"));
}

absl::StatusOr<std::unique_ptr<const StepBatch>> TokenFeedback::FillIn(const StepBatch& batch,
                                                                       absl::Time deadline) const {
  auto filled = std::make_unique<StepBatch>(batch);
  for (const FedRow& fed : batch.fed_rows) {
    ASSIGN_OR_RETURN(const std::shared_ptr<const TokenOf> tokens, Await(fed.step_id, deadline));
    const auto found = tokens->find(fed.sequence_id);
    const uint32_t token = found == tokens->end() ? 0 : found->second;
    filled->token_ids[static_cast<size_t>(fed.row)] = token;
    if (fed.draw >= 0) filled->draws[static_cast<size_t>(fed.draw)].answer_tokens.back() = token;
  }
  return filled;
}

std::vector<TokenFeedback::Token> TokenFeedback::TakeNew() {
  const SteadyMutexLock lock(&mutex_);
  return std::exchange(new_, {});
}

void TokenFeedback::Abort(const absl::Status& reason) {
  const SteadyMutexLock lock(&mutex_);
  if (aborted_.ok()) aborted_ = reason;
}

}  // namespace baton::stage
