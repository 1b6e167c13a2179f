#include "services/scheduler/calls/unread_calls.h"

#include <algorithm>
#include <utility>

namespace baton::scheduler {

std::shared_ptr<UnreadCall> UnreadCalls::Add(std::shared_ptr<UnreadCall> call) {
  const absl::MutexLock lock(&mutex_);
  const UnreadCall* const added = call.get();
  keys_[added->fairness_key()].emplace(added, std::move(call));
  if (++size_ <= most_) return nullptr;
  const auto largest = std::max_element(
      keys_.begin(), keys_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  Calls& calls = largest->second;
  const auto longest = std::min_element(
      calls.begin(), calls.end(),
      [](const auto& a, const auto& b) { return a.second->last_taken() < b.second->last_taken(); });
  std::shared_ptr<UnreadCall> leaving = std::move(longest->second);
  calls.erase(longest);
  if (calls.empty()) keys_.erase(largest);
  --size_;
  return leaving;
}

void UnreadCalls::Remove(const UnreadCall* call) {
  std::shared_ptr<UnreadCall> removed;  // outlives the lock
  const absl::MutexLock lock(&mutex_);
  const auto key = keys_.find(call->fairness_key());
  if (key == keys_.end()) return;
  const auto found = key->second.find(call);
  if (found == key->second.end()) return;
  removed = std::move(found->second);
  key->second.erase(found);
  if (key->second.empty()) keys_.erase(key);
  --size_;
}

size_t UnreadCalls::size() const {
  const absl::MutexLock lock(&mutex_);
  return size_;
}

}  // namespace baton::scheduler
