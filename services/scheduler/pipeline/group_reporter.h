// Tells watchers and metrics how the group stands: membership at once, counts a few times a second.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/scheduler/core/schedule.h"
#include "services/scheduler/pipeline/group_watch.h"
#include "services/scheduler/pipeline/monotonic_time.h"
#include "services/scheduler/pipeline/stage_registry.h"
#include "services/scheduler/pipeline/step_observer.h"

namespace baton::scheduler {

class GroupReporter final {
 public:
  // `watch` and `observer` (may be null) must outlive this object.
  GroupReporter(GroupWatch* watch, StepObserver* observer) : watch_(watch), observer_(observer) {}

  // Membership, epoch or readiness may have changed: the next Report publishes.
  void MarkChanged() { changed_ = true; }
  // A step that had sequences is done; it computed `num_tokens`.
  void CountStep(uint32_t num_tokens);
  // Publishes if something changed and it is time. `serving`: false makes the group not ready.
  void Report(const StageRegistry& registry, const Schedule& schedule, bool serving,
              MonotonicTime now);
  // When Report has something to publish that it held back; far away if there is nothing.
  MonotonicTime next_due(MonotonicTime now) const;

 private:
  GroupWatch* const watch_;
  StepObserver* const observer_;
  bool changed_ = true;
  bool held_back_ = false;
  MonotonicTime last_report_;
  ScheduleCounts last_counts_;
  // Steps by their number of tokens, as in v1::StepTokenState, and their tokens.
  std::array<uint64_t, 14> num_steps_ = {};
  uint64_t num_step_tokens_ = 0;
  bool has_new_steps_ = false;
};

}  // namespace baton::scheduler
