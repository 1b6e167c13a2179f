// The one thread that owns the scheduler's state. Everyone else puts events into its inbox; it
// sleeps when nothing is due.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/steady_mutex.h"
#include "services/scheduler/pipeline/events.h"
#include "services/scheduler/pipeline/step_engine.h"

namespace baton::scheduler {

class StepLoop final {
 public:
  // Starts the thread. `inbox_capacity`: events that may wait for it.
  StepLoop(StepEngineOptions options, size_t inbox_capacity);
  // Stops the thread where it is; requests that are live are never finished then. Drain first.
  ~StepLoop();
  StepLoop(const StepLoop&) = delete;
  StepLoop& operator=(const StepLoop&) = delete;

  // False, and `event` is dropped, if the inbox is full or the loop has stopped. Any thread.
  bool Post(Event event) { return inbox_.TryPush(std::move(event)); }
  // It takes no more events. Any thread.
  bool stopped() const { return inbox_.closed(); }
  // A name for a sequence that no other ever had in this process. Any thread.
  SequenceId NewSequenceId() { return next_sequence_id_.fetch_add(1, std::memory_order_relaxed); }
  // Unavailable if the loop has been busy with one turn for seconds: it hangs. A loop that sleeps
  // or has ended is well. Any thread.
  absl::Status CheckAlive(MonotonicTime now) const;
  // Takes no new requests, lets what is live end until `deadline`, aborts the rest, lets the stages
  // leave. Returns when that is done, a few seconds past `deadline` at the latest.
  void Drain(absl::Time deadline);

 private:
  void Run();

  // Ends what nobody will take in any more.
  void RefuseRest();

  BoundedQueue<Event> inbox_;
  // When the turn began that the thread is in, in nanoseconds of the monotonic clock; 0: it sleeps.
  std::atomic<int64_t> turn_began_{0};
  StepEngine engine_;  // the thread's alone once it runs
  std::atomic<SequenceId> next_sequence_id_{1};
  SteadyMutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace baton::scheduler
