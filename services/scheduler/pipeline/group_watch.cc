#include "services/scheduler/pipeline/group_watch.h"

#include <utility>

namespace baton::scheduler {
namespace {

constexpr size_t kMaxWatchers = 64;

}  // namespace

// Watchers are told under the lock, so that each sees the states in their order; Notify only
// queues.
bool GroupWatch::Add(const std::shared_ptr<GroupWatcher>& watcher) {
  absl::MutexLock lock(&mutex_);
  if (closed_) {
    watcher->End();
    return true;
  }
  if (LiveLocked().size() >= kMaxWatchers) return false;
  watchers_.push_back(watcher);
  if (has_state_) watcher->Notify(state_);
  return true;
}

void GroupWatch::Publish(v1::GroupState state) {
  absl::MutexLock lock(&mutex_);
  state_ = std::move(state);
  has_state_ = true;
  for (const auto& watcher : LiveLocked()) watcher->Notify(state_);
}

void GroupWatch::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& watcher : LiveLocked()) watcher->End();
  watchers_.clear();
}

std::vector<std::shared_ptr<GroupWatcher>> GroupWatch::LiveLocked() {
  std::vector<std::shared_ptr<GroupWatcher>> live;
  std::erase_if(watchers_, [&live](const std::weak_ptr<GroupWatcher>& weak) {
    std::shared_ptr<GroupWatcher> watcher = weak.lock();
    if (watcher == nullptr) return true;
    live.push_back(std::move(watcher));
    return false;
  });
  return live;
}

}  // namespace baton::scheduler
