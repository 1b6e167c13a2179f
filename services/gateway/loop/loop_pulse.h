// Whether an executor still runs what is posted to it.
#pragma once

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Each check leaves work of its own behind, unless an earlier one's still waits. Any thread.
class LoopPulse final {
 public:
  // `executor` must outlive this.
  explicit LoopPulse(Executor& executor) : executor_(executor) {}

  // Unavailable if the work of an earlier check has waited for longer than kLongestTurn at `now`.
  absl::Status Check(absl::Time now);

  static constexpr absl::Duration kLongestTurn = absl::Seconds(5);

 private:
  struct Beat {
    absl::Mutex mutex;
    absl::Time posted ABSL_GUARDED_BY(mutex) = absl::InfiniteFuture();  // of the one that waits
  };

  Executor& executor_;
  const std::shared_ptr<Beat> beat_ = std::make_shared<Beat>();
};

}  // namespace baton::gateway
