// Callers that do not take their tokens, each since when. Their sequences are suspended meanwhile.
#pragma once

#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"

#include "services/scheduler/core/sequence.h"
#include "services/scheduler/pipeline/monotonic_time.h"

namespace baton::scheduler {

// Not thread-safe: the step loop owns it.
class ReaderWatch final {
 public:
  // A caller that takes nothing for `patience` has stalled.
  explicit ReaderWatch(absl::Duration patience) : patience_(patience) {}

  // The caller of `id` is behind, from `now` on. False: it was already.
  bool Wait(SequenceId id, MonotonicTime now);
  // It took something at `taken`: its time begins anew then. False: it had begun later before.
  bool Renew(SequenceId id, MonotonicTime taken);
  // It has caught up, or its sequence has ended. No effect if it was not behind.
  void Forget(SequenceId id);
  // Who watches was asleep for `duration`: it counts against nobody.
  void Forgive(absl::Duration duration);

  // Callers that have stalled by `now`, the longest first.
  std::vector<SequenceId> Stalled(MonotonicTime now) const;
  bool stalled(SequenceId id, MonotonicTime now) const { return since_.at(id) + patience_ <= now; }
  // When the next one will have; the end of time if none is behind.
  MonotonicTime next_due() const;
  absl::Duration patience() const { return patience_; }

 private:
  const absl::Duration patience_;
  std::unordered_map<SequenceId, MonotonicTime> since_;
  std::set<std::pair<MonotonicTime, SequenceId>> order_;  // of the same
};

}  // namespace baton::scheduler
