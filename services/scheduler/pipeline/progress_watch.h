// Notices the stage that sends signs of life but no longer finishes steps.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/time/time.h"

#include "services/scheduler/core/sequence.h"
#include "services/scheduler/pipeline/monotonic_time.h"

namespace baton::scheduler {

// A stage has work while the stage before it (for the first one: the scheduler) is ahead of it; a
// step that begins with tokens of an earlier one is nobody's work until the last stage has finished
// that. Not thread-safe: the step loop owns it.
class ProgressWatch final {
 public:
  // A stage that has work and finishes none of it for `timeout` is stalled.
  ProgressWatch(uint32_t num_stages, absl::Duration timeout)
      : timeout_(timeout), stages_(num_stages) {}

  // A new epoch: no step was sent.
  void Reset();
  // `feedback_step`: the newest step whose tokens `step_id` begins with; 0: none.
  void Sent(StepId step_id, StepId feedback_step, MonotonicTime now);
  // `stage_index` has finished `step_id`.
  void Finished(uint32_t stage_index, StepId step_id, MonotonicTime now);
  // Time that the watcher itself slept through is nobody's fault.
  void Forgive(MonotonicTime now);
  // The first stage that is stalled: those after it may only be waiting for it.
  std::optional<uint32_t> Stalled(MonotonicTime now) const;

 private:
  struct StageProgress {
    StepId ahead = 0;  // last step that it could have finished
    StepId done = 0;
    MonotonicTime since;  // when it got work or finished some last
  };

  struct HeldStep {
    StepId id;
    StepId feedback_step;
  };

  void Offer(uint32_t stage_index, StepId step_id, MonotonicTime now);
  // Offers the first stage those held steps whose tokens have been sampled.
  void OfferHeld(MonotonicTime now);

  const absl::Duration timeout_;
  std::vector<StageProgress> stages_;
  std::deque<HeldStep> held_;  // sent, oldest first; not offered to the first stage yet
};

}  // namespace baton::scheduler
