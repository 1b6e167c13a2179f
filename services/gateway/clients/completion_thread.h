// A completion queue of gRPC and the one thread that empties it.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/completion_queue.h"

namespace baton::gateway {

// Calls that share a queue share its thread: what arrives for many of them together is worked off
// in one go. gRPC's callback API hands every event from thread to thread instead, and so it does
// with a part of the work where two threads use one connection at a time: calls are begun here too.
class CompletionThread final {
 public:
  // An operation's tag in the queue.
  class Operation {
   public:
    virtual ~Operation() = default;
    // Once for each time that it was started; never two at a time of one that is started once at a
    // time. On the queue's thread.
    virtual void OnCompleted(bool ok) = 0;
  };

  CompletionThread();
  // Whatever was started must be over, and what was posted must have run.
  ~CompletionThread();
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  // Runs `work` on the queue's thread, in order of posting. Any thread.
  void Post(std::function<void()> work) ABSL_LOCKS_EXCLUDED(mutex_);

  // Every tag must be an Operation*.
  grpc::CompletionQueue* queue() { return &queue_; }

 private:
  // The alarm's: runs all that has been posted by then.
  class PostedWork final : public Operation {
   public:
    explicit PostedWork(CompletionThread& owner) : owner_(owner) {}
    void OnCompleted(bool ok) override;

   private:
    CompletionThread& owner_;
  };

  grpc::CompletionQueue queue_;
  absl::Mutex mutex_;
  // Not empty: the alarm is set, or its event is on its way.
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
  PostedWork posted_work_{*this};
  grpc::Alarm alarm_;
  std::thread thread_;
};

}  // namespace baton::gateway
