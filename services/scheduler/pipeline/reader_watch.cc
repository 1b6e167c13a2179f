#include "services/scheduler/pipeline/reader_watch.h"

#include <algorithm>

namespace baton::scheduler {

bool ReaderWatch::Wait(SequenceId id, const std::string& key, MonotonicTime now) {
  if (!readers_.try_emplace(id, Reader{now, key}).second) return false;
  keys_[key].insert(id);
  order_.insert({now, id});
  return true;
}

bool ReaderWatch::Renew(SequenceId id, MonotonicTime taken) {
  const auto found = readers_.find(id);
  if (found == readers_.end() || taken <= found->second.since) return false;
  order_.erase({found->second.since, id});
  found->second.since = taken;
  order_.insert({taken, id});
  return true;
}

void ReaderWatch::Forget(SequenceId id) {
  const auto found = readers_.find(id);
  if (found == readers_.end()) return;
  const auto key = keys_.find(found->second.key);
  key->second.erase(id);
  if (key->second.empty()) keys_.erase(key);
  order_.erase({found->second.since, id});
  readers_.erase(found);
}

void ReaderWatch::Forgive(absl::Duration duration) {
  order_.clear();
  for (auto& [id, reader] : readers_) {
    reader.since = reader.since + duration;
    order_.insert({reader.since, id});
  }
}

std::vector<SequenceId> ReaderWatch::TooMany() const {
  if (readers_.size() <= most_) return {};
  const auto largest = std::max_element(
      keys_.begin(), keys_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  return {largest->second.begin(), largest->second.end()};
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
