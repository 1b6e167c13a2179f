// Where the devices of a stage meet at the end of a step, for the one result that the stage gives.
#pragma once

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/stage_worker/execution/step_result.h"

namespace baton::stage {

// Nobody waits here. Each device comes once for each step that was begun, in the order of steps,
// and to none before all have been at the one before it: a vote lies between.
class StepEnd final {
 public:
  explicit StepEnd(int num_devices) : num_devices_(num_devices) {}

  // A device has handed over what it sends of the step; rank 0's brings the result. Gives it to the
  // one that comes last, and the others nothing.
  std::optional<StepResult> Arrive(std::optional<StepResult> result) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    if (result.has_value()) result_ = std::move(result);
    if (++num_arrived_ < num_devices_) return std::nullopt;
    num_arrived_ = 0;
    return std::exchange(result_, std::nullopt);
  }

 private:
  const int num_devices_;
  absl::Mutex mutex_;
  int num_arrived_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<StepResult> result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
