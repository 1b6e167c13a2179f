// Calls that are over, but for what their callers have not read: gRPC keeps each until it is read,
// however long that takes. Against a bound, beyond which the oldest is cut off.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::scheduler {

class UnreadCall {
 public:
  virtual ~UnreadCall() = default;
  // The caller gets nothing more. No effect if the call is done.
  virtual void CutOff() = 0;
};

// Any thread.
class UnreadCalls final {
 public:
  explicit UnreadCalls(size_t most) : most_(most) {}

  // `call` is over, but unread. Returns what is to be cut off for it, the oldest; null: none. That
  // one is counted no longer.
  std::shared_ptr<UnreadCall> Add(std::shared_ptr<UnreadCall> call);
  // It is done. No effect if it is not counted.
  void Remove(const UnreadCall* call);
  size_t size() const;

 private:
  using Order = std::list<std::shared_ptr<UnreadCall>>;

  const size_t most_;
  mutable absl::Mutex mutex_;
  Order order_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  std::unordered_map<const UnreadCall*, Order::iterator> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::scheduler
