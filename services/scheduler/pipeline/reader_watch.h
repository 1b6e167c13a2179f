// Callers that do not take their tokens, each since when. Their sequences are suspended meanwhile.
// There are no more of them than a bound: beyond it, the key that has most has to lose one.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
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
  // A caller that takes nothing for `patience` has stalled. At most `most` may be behind.
  ReaderWatch(absl::Duration patience, size_t most) : patience_(patience), most_(most) {}

  // The caller of `id`, of fairness key `key`, is behind, from `now` on. False: it was already.
  bool Wait(SequenceId id, const std::string& key, MonotonicTime now);
  // It took something at `taken`: its time begins anew then. False: it had begun later before.
  bool Renew(SequenceId id, MonotonicTime taken);
  // It has caught up, or its sequence has ended. No effect if it was not behind.
  void Forget(SequenceId id);
  // Who watches was asleep for `duration`: it counts against nobody.
  void Forgive(absl::Duration duration);

  // Callers that have stalled by `now`, the longest first.
  std::vector<SequenceId> Stalled(MonotonicTime now) const;
  bool stalled(SequenceId id, MonotonicTime now) const { return since(id) + patience_ <= now; }
  // If more are behind than may be: all of the key that has most of them. Else none. Linear in the
  // number of keys and of its callers.
  std::vector<SequenceId> TooMany() const;
  MonotonicTime since(SequenceId id) const { return readers_.at(id).since; }
  // When the next one will have; the end of time if none is behind.
  MonotonicTime next_due() const;
  absl::Duration patience() const { return patience_; }
  size_t most() const { return most_; }

 private:
  struct Reader {
    MonotonicTime since;
    std::string key;
  };

  const absl::Duration patience_;
  const size_t most_;
  std::unordered_map<SequenceId, Reader> readers_;
  std::map<std::string, std::set<SequenceId>> keys_;      // of the same; none is empty
  std::set<std::pair<MonotonicTime, SequenceId>> order_;  // of the same
};

}  // namespace baton::scheduler
