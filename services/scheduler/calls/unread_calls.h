// Calls that are over, but for what their callers have not read: gRPC keeps each until it is read,
// however long that takes. Against a bound, beyond which the key that has most of them loses one.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/scheduler/pipeline/monotonic_time.h"

namespace baton::scheduler {

class UnreadCall {
 public:
  virtual ~UnreadCall() = default;
  virtual const std::string& fairness_key() const = 0;
  // When its caller last took a message, or was offered one having taken all before it. Takes no
  // lock.
  virtual MonotonicTime last_taken() const = 0;
  // The caller gets nothing more. No effect if the call is done.
  virtual void CutOff() = 0;
};

// Any thread.
class UnreadCalls final {
 public:
  explicit UnreadCalls(size_t most) : most_(most) {}

  // `call` is over, but unread. Returns what is to be cut off for it, of the key that has most of
  // them the one whose caller has taken nothing for longest; null: none. That one is counted no
  // longer. Linear in the number of keys and of its calls, beyond the bound.
  std::shared_ptr<UnreadCall> Add(std::shared_ptr<UnreadCall> call);
  // It is done, but lives yet. No effect if it is not counted.
  void Remove(const UnreadCall* call);
  size_t size() const;

 private:
  using Calls = std::unordered_map<const UnreadCall*, std::shared_ptr<UnreadCall>>;

  const size_t most_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Calls> keys_ ABSL_GUARDED_BY(mutex_);  // none is empty
  size_t size_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::scheduler
