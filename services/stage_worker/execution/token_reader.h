// The first stage's end of the token channel: takes in what the last stage sends, step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "services/stage_worker/execution/token_channel.h"
#include "services/stage_worker/execution/token_feedback.h"
#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// One thread: that of rank 0's device.
class TokenReader final {
 public:
  // Both must outlive the reader. Tokens are in [0, vocab_size).
  TokenReader(TokenSource* source, TokenFeedback* feedback, int64_t vocab_size)
      : source_(source), feedback_(feedback), vocab_size_(vocab_size) {}

  // The last stage will send what `batch` draws. In the order of steps.
  void Expect(const StepBatch& batch);
  // Takes in everything up to `step_id`, whether it is needed or not: the last stage lives on the
  // credits for it. Errors: those of TokenSource::Receive; DataLoss (a token out of range).
  absl::Status TakeUpTo(uint64_t step_id, absl::Time deadline);

 private:
  struct Expected {
    TokenKey key;
    std::vector<TokenFeedback::Token> tokens;  // without their token_id
  };

  absl::Status Take(Expected expected, absl::Time deadline);

  TokenSource* const source_;
  TokenFeedback* const feedback_;
  const int64_t vocab_size_;
  std::deque<Expected> expected_;
};

}  // namespace baton::stage
