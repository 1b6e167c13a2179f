#include "services/scheduler/pipeline/reader_watch.h"

#include <algorithm>

namespace baton::scheduler {

bool ReaderWatch::Wait(SequenceId id, MonotonicTime now) {
  if (!since_.emplace(id, now).second) return false;
  order_.insert({now, id});
  return true;
}

bool ReaderWatch::Renew(SequenceId id, MonotonicTime taken) {
  const auto found = since_.find(id);
  if (found == since_.end() || taken <= found->second) return false;
  order_.erase({found->second, id});
  found->second = taken;
  order_.insert({taken, id});
  return true;
}

void ReaderWatch::Forget(SequenceId id) {
  const auto found = since_.find(id);
  if (found == since_.end()) return;
  order_.erase({found->second, id});
  since_.erase(found);
}

void ReaderWatch::Forgive(absl::Duration duration) {
  order_.clear();
  for (auto& [id, since] : since_) {
    since = since + duration;
    order_.insert({since, id});
  }
}

std::vector<SequenceId> ReaderWatch::Stalled(MonotonicTime now) const {
  std::vector<SequenceId> stalled;
  for (const auto& [since, id] : order_) {
    if (since + patience_ > now) break;
    stalled.push_back(id);
  }
  return stalled;
}

MonotonicTime ReaderWatch::next_due() const {
  return order_.empty() ? MonotonicTime::max() : order_.begin()->first + patience_;
}

}  // namespace baton::scheduler
