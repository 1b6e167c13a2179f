#include "tests/fakes/token_pipe.h"

#include "absl/strings/str_cat.h"

namespace baton::fakes {

absl::StatusOr<std::vector<uint32_t>> TokenPipe::Receive(const stage::TokenKey& key,
                                                         size_t num_tokens, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const Key name(key.epoch, key.step_id);
  const auto arrived = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return cancelled_ || steps_.contains(name);
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&arrived), deadline)) {
    return absl::DeadlineExceededError("no tokens");
  }
  if (cancelled_) return absl::CancelledError("pipe");
  std::vector<uint32_t> tokens = std::move(steps_.extract(name).mapped());
  if (tokens.size() == num_tokens) return tokens;
  return absl::DataLossError(absl::StrCat(tokens.size(), " tokens instead of ", num_tokens));
}

absl::Status TokenPipe::Send(const stage::TokenKey& key, std::span<const uint32_t> tokens,
                             absl::Time) {
  absl::MutexLock lock(&mutex_);
  if (cancelled_) return absl::CancelledError("pipe");
  steps_[{key.epoch, key.step_id}].assign(tokens.begin(), tokens.end());
  return absl::OkStatus();
}

void TokenPipe::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

int TokenPipe::num_held() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(steps_.size());
}

}  // namespace baton::fakes
