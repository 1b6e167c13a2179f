// How the devices of the last stage learn in the middle of a step what it has drawn.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/stage_worker/model/mtp_module.h"

namespace baton::stage {

// The device of rank 0 draws, and tells; the others ask, each once per step. Nobody waits for the
// outside: a step that has begun draws (see StepVote).
class DrawExchange final {
 public:
  using Draws = std::shared_ptr<const std::vector<CountedDraw>>;

  explicit DrawExchange(int num_devices) : num_askers_(num_devices - 1) {}

  void Tell(uint64_t step_id, Draws draws) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for Tell of the same step.
  Draws Ask(uint64_t step_id) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Told {
    Draws draws;
    int num_left = 0;  // askers still to come
  };

  const int num_askers_;
  absl::Mutex mutex_;
  std::map<uint64_t, Told> told_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
