// The calls of one client that gRPC has not finished with.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace baton::gateway {

// Any thread. Destroying it cancels what is open and waits for its end: what the calls refer to may
// go away afterwards.
class OpenCalls {
 public:
  ~OpenCalls() {
    absl::MutexLock lock(&mutex_);
    for (const auto& [call, cancel] : calls_) cancel();
    mutex_.Await(absl::Condition(this, &OpenCalls::Empty));
  }

  // `cancel` brings the end of the call about, from any thread; it must not call Remove itself.
  void Add(const void* call, std::function<void()> cancel) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    calls_.emplace(call, std::move(cancel));
  }
  // Runs `farewell` before the destructor may return; it must not call this object.
  void Remove(const void* call, const std::function<void()>& farewell) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    calls_.erase(call);
    farewell();
  }

 private:
  bool Empty() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return calls_.empty(); }

  absl::Mutex mutex_;
  absl::flat_hash_map<const void*, std::function<void()>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
