#include "services/scheduler/calls/unread_calls.h"

#include <utility>

namespace baton::scheduler {

std::shared_ptr<UnreadCall> UnreadCalls::Add(std::shared_ptr<UnreadCall> call) {
  const absl::MutexLock lock(&mutex_);
  const UnreadCall* const added = call.get();
  places_[added] = order_.insert(order_.end(), std::move(call));
  if (order_.size() <= most_) return nullptr;
  std::shared_ptr<UnreadCall> oldest = std::move(order_.front());
  order_.pop_front();
  places_.erase(oldest.get());
  return oldest;
}

void UnreadCalls::Remove(const UnreadCall* call) {
  std::shared_ptr<UnreadCall> removed;  // outlives the lock
  const absl::MutexLock lock(&mutex_);
  const auto found = places_.find(call);
  if (found == places_.end()) return;
  removed = std::move(*found->second);
  order_.erase(found->second);
  places_.erase(found);
}

size_t UnreadCalls::size() const {
  const absl::MutexLock lock(&mutex_);
  return order_.size();
}

}  // namespace baton::scheduler
