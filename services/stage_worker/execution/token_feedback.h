// What the steps of one epoch sampled, for the steps that begin with it: the latter are commanded
// before the former are done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// Any thread.
class TokenFeedback final {
 public:
  // One sequence's token of a step.
  struct Token {
    uint64_t sequence_id = 0;
    uint32_t position = 0;
    uint32_t token_id = 0;
  };

  // The tokens of the `num_steps` newest steps that sampled are kept.
  explicit TokenFeedback(size_t num_steps) : num_steps_(num_steps) {}

  // What `step_id` sampled; a sequence that failed has no token. In the order of steps, each once.
  void Put(uint64_t step_id, std::vector<Token> tokens) ABSL_LOCKS_EXCLUDED(mutex_);
  // `batch` with its fed rows' tokens in place, once they are there. A row of a sequence that
  // failed, whose result nobody wants, gets token 0. Errors: DeadlineExceeded; Internal (a step
  // that is not kept any more); Abort's reason.
  absl::StatusOr<std::unique_ptr<const StepBatch>> FillIn(const StepBatch& batch,
                                                          absl::Time deadline) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Of the tokens that are kept, those that no earlier call gave.
  std::vector<Token> TakeNew() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends all waits with `reason`, present and later ones.
  void Abort(const absl::Status& reason) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using TokenOf = absl::flat_hash_map<uint64_t, uint32_t>;  // by sequence

  absl::StatusOr<std::shared_ptr<const TokenOf>> Await(uint64_t step_id, absl::Time deadline) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  const size_t num_steps_;
  mutable SteadyMutex mutex_;
  std::map<uint64_t, std::shared_ptr<const TokenOf>> steps_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Token> new_ ABSL_GUARDED_BY(mutex_);
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
