// The state of the group, for everyone who watches it.
#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "protos/baton/v1/scheduling.pb.h"

namespace baton::scheduler {

// One WatchGroup stream. Neither call blocks.
class GroupWatcher {
 public:
  virtual ~GroupWatcher() = default;
  // A newer state may replace one that is not written yet.
  virtual void Notify(const v1::GroupState& state) = 0;
  // No more news: the process is leaving.
  virtual void End() = 0;
};

// Any thread.
class GroupWatch final {
 public:
  // `watcher` gets the current state at once, if there is one, and every later one until it is
  // destroyed. False if there are too many already.
  bool Add(const std::shared_ptr<GroupWatcher>& watcher) ABSL_LOCKS_EXCLUDED(mutex_);
  void Publish(v1::GroupState state) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends every watcher, and each that comes later.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::vector<std::shared_ptr<GroupWatcher>> LiveLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  bool has_state_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  v1::GroupState state_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<GroupWatcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::scheduler
