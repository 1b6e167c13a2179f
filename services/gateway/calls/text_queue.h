// Long requests, and constrained ones, on their way through the text worker.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Callers take turns: next is a job of the caller that has had least of the worker's time since
// callers last waited together, so nobody waits for more of another's jobs than its own take. What
// a job will take is expected from its bytes and from what the caller's latest jobs took beside
// theirs, as a constraint does that has to be compiled. Bounds the bytes that wait or are worked
// on, and for each caller the time that it would wait for jobs before its own; one that waits for
// none is never refused for its time. Of the bytes an eighth is kept for callers that have no more
// than would be their share if one more came, and of that eighth such a caller leaves one part of
// (callers + 1); a caller's first job may have all that is free, and always fits if it is short.
// Requests of nobody's key may have all. Any thread.
class TextQueue {
 public:
  // Longer bodies are parsed and encoded beside the loop (a megabyte of prompt takes a good part of
  // a second).
  static constexpr size_t kShortBodyBytes = 16 << 10;

  // Whoever waits looks so often whether the deadline has passed: a timer until then would outlive
  // the many requests that wait for a moment only.
  static constexpr absl::Duration kDeadlineWatch = absl::Seconds(1);

  struct Limits {
    size_t num_bytes = 64 << 20;              // of all callers
    absl::Duration wait = absl::Seconds(30);  // expected, until a job would begin
  };
  // Where a job has no more than `most_job_bytes`: the largest fits beside another one.
  static Limits LimitsFor(size_t most_job_bytes) {
    return {.num_bytes = std::max(Limits().num_bytes, 2 * most_job_bytes)};
  }

  // `worker` runs one job at a time and must outlive this; `now` is a clock that goes on steadily.
  TextQueue(
      Executor& worker, const Limits& limits,
      std::function<absl::Time()> now = [] { return SteadyNow(); })
      : worker_(worker), limits_(limits), now_(std::move(now)) {}

  // Runs `work` on the worker. Returns a name for Remove. Errors: Unavailable with RetryAfter
  // (reason "server_is_overloaded") when `num_bytes` more do not fit beside what is kept, or
  // `caller` would wait for longer than the bound; the time is when it is expected not to, spread.
  // `work` is dropped then.
  absl::StatusOr<uint64_t> Post(const std::string& caller, size_t num_bytes,
                                std::function<void()> work) ABSL_LOCKS_EXCLUDED(mutex_);

  // Drops a job that has not begun. False: it has, or there is none of this name.
  bool Remove(uint64_t id) ABSL_LOCKS_EXCLUDED(mutex_);

  // That wait or are worked on.
  size_t num_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    uint64_t id = 0;
    size_t num_bytes = 0;
    std::function<void()> work;
  };
  struct Caller {
    std::deque<Job> waiting;
    size_t num_jobs = 0;   // waiting, or worked on
    size_t num_bytes = 0;  // theirs
    absl::Duration had;    // of the worker's time; from when it last waited together with others
    absl::Duration per_job = kFirstPerJob;  // what its latest jobs took beside their bytes

    absl::Duration Backlog() const;
  };
  using Callers = std::map<std::string, Caller>;  // nodes move from one to the other

  // What is expected of a caller's first job beside its bytes: a common schema takes less.
  static constexpr absl::Duration kFirstPerJob = absl::Milliseconds(20);
  // Callers without a job are remembered up to so many; then all of them are forgotten.
  static constexpr size_t kMostCallers = 4096;

  // How long it takes until a job of `num_bytes` more of `caller` begins, as callers take turns.
  absl::Duration WaitLocked(const Caller& caller, size_t num_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Bytes that are to stay free for other callers.
  size_t KeptLocked(const std::string& name, const Caller& caller, size_t num_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // OK if a job of `num_bytes` more of `caller` may wait.
  absl::Status CheckLocked(const std::string& name, const Caller& caller, size_t num_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is known of a caller; null: nothing.
  const Caller* FindLocked(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Caller& BusyLocked(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeOffLocked(Callers::iterator caller, size_t num_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On the worker: the next job, if there still is one.
  void RunNext() ABSL_LOCKS_EXCLUDED(mutex_);

  Executor& worker_;
  const Limits limits_;
  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  size_t num_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Callers busy_ ABSL_GUARDED_BY(mutex_);                             // have jobs
  Callers idle_ ABSL_GUARDED_BY(mutex_);                             // had jobs
  std::map<uint64_t, std::string> waiting_ ABSL_GUARDED_BY(mutex_);  // whose job each is
  absl::Duration had_ ABSL_GUARDED_BY(mutex_);  // by the caller whose turn was last, before it
};

// OK before `deadline`, of SteadyNow(); else DeadlineExceeded.
absl::Status CheckEncodeDeadline(absl::Time deadline);

}  // namespace baton::gateway
