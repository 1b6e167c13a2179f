// What happens to a membership, on its way from gRPC's and the device threads to the control
// thread. Few may wait; that the stream closed or the worker shall stop is never lost for it.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "protos/baton/v1/stage.pb.h"

namespace baton::stage {

struct MembershipEvent {
  enum class Kind { kPlan, kTopology, kDrain, kFault, kNeighbourLost, kClosed, kStop };

  Kind kind;
  v1::SchedulerMessage message;  // kPlan, kTopology
  absl::Status status;           // kFault, kNeighbourLost, kClosed
};

// Any thread; one caller of Pop and EndSession.
class MembershipEvents final {
 public:
  explicit MembershipEvents(size_t capacity) : capacity_(capacity) {}

  // False, and `event` is dropped, if `capacity` events wait. Not for kClosed and kStop.
  bool TryPush(MembershipEvent event);
  // The stream has ended: kClosed follows everything pushed before it.
  void PushClosed(absl::Status status);
  // kStop goes before everything else.
  void PushStop();

  // Waits until `deadline`; nullopt then.
  std::optional<MembershipEvent> Pop(absl::Time deadline);
  // Drops everything but kStop.
  void EndSession();

 private:
  bool HasEvent() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || closed_.has_value() || !events_.empty();
  }

  const size_t capacity_;
  SteadyMutex mutex_;
  std::deque<MembershipEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> closed_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::stage
