// What the devices of a stage wait for that a neighbour sends: told to the scheduler, which knows
// whether it was sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"

namespace baton::stage {

enum class AwaitedFrames { kHiddenStates, kTokens, kCredit };

struct NeighbourWait {
  AwaitedFrames frames = AwaitedFrames::kHiddenStates;
  // Whose frames; of a credit, which step it is needed for.
  uint64_t step_id = 0;
  absl::Time since;  // SteadyNow's
};

// Any thread.
class NeighbourWaits final {
 public:
  // Each device has a place of its own, numbered by its first rank.
  explicit NeighbourWaits(int num_ranks) : places_(static_cast<size_t>(num_ranks)) {}

  // Lasts from construction to destruction. A device has one at a time.
  class Scope final {
   public:
    Scope(NeighbourWaits* waits, int first_rank, AwaitedFrames frames, uint64_t step_id)
        : waits_(waits), place_(static_cast<size_t>(first_rank)) {
      waits_->Set(place_, NeighbourWait{frames, step_id, SteadyNow()});
    }
    ~Scope() { waits_->Set(place_, std::nullopt); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    NeighbourWaits* const waits_;
    const size_t place_;
  };

  // Of all devices. One may last no longer, though its device's thread has not run since.
  std::vector<NeighbourWait> All() const {
    const absl::MutexLock lock(&mutex_);
    std::vector<NeighbourWait> waits;
    for (const std::optional<NeighbourWait>& wait : places_) {
      if (wait.has_value()) waits.push_back(*wait);
    }
    return waits;
  }

 private:
  void Set(size_t place, std::optional<NeighbourWait> wait) {
    const absl::MutexLock lock(&mutex_);
    places_[place] = wait;
  }

  mutable absl::Mutex mutex_;
  std::vector<std::optional<NeighbourWait>> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
