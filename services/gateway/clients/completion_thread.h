// A completion queue of gRPC and the one thread that empties it.
#pragma once

#include <functional>
#include <thread>

#include "grpcpp/completion_queue.h"

namespace baton::gateway {

// Calls that share a queue share its thread: what arrives for many of them together is worked off
// in one go. gRPC's callback API hands every event from thread to thread instead.
class CompletionThread final {
 public:
  // An operation's tag in the queue.
  class Operation {
   public:
    virtual ~Operation() = default;
    // Once for each time that it was started; never two at a time of one that is started once at a
    // time. On the queue's thread, or inside Start.
    virtual void OnCompleted(bool ok) = 0;
  };

  CompletionThread();
  // Whatever was started must be over.
  ~CompletionThread();
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  // Runs `start`, which starts operations on the queue. One that is over at once is completed here,
  // without waking the thread; perhaps also one of another call, in the
  // thread's place. Any thread.
  void Start(const std::function<void()>& start);

  // Every tag must be an Operation*.
  grpc::CompletionQueue* queue() { return &queue_; }

 private:
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace baton::gateway
