// One decision per step that all devices of a stage take together.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::stage {

// Collectives need every device: a device that cannot start a step (its hidden states did not come)
// must keep the others from starting it. Each device votes once per step, in the order of steps.
class StepVote final {
 public:
  explicit StepVote(int num_devices) : num_devices_(num_devices) {}

  // Waits for the votes of all devices; true if all were `yes`.
  bool Agree(bool yes) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const int num_devices_;
  absl::Mutex mutex_;
  absl::CondVar decided_;
  int num_votes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool all_yes_ ABSL_GUARDED_BY(mutex_) = true;
  bool decision_ ABSL_GUARDED_BY(mutex_) = true;
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::stage
