// The one thread of a device, and the queue of steps before it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/steady_mutex.h"
#include "services/stage_worker/execution/queued_step.h"

namespace baton::stage {

class DeviceLoop final {
 public:
  using Run = std::function<void(const QueuedStep&)>;

  // Starts the thread; `run` is called on it for each step in the order of TrySubmit.
  DeviceLoop(size_t capacity, Run run);
  ~DeviceLoop();  // Stop()

  // False if `capacity` steps are queued, or after Stop.
  bool HasRoom() const { return !steps_.closed() && steps_.size() < capacity_; }
  bool TrySubmit(std::shared_ptr<const QueuedStep> step) ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until no step is queued or running. False at the deadline.
  bool WaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs what is queued, then joins the thread. Idempotent; one caller.
  void Stop();

 private:
  void Loop();
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_pending_ == 0; }

  const size_t capacity_;
  const Run run_;
  BoundedQueue<std::shared_ptr<const QueuedStep>> steps_;
  SteadyMutex mutex_;
  size_t num_pending_ ABSL_GUARDED_BY(mutex_) = 0;  // queued or running
  std::thread thread_;
};

}  // namespace baton::stage
