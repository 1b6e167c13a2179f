// The calls of one client that gRPC has not finished with.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"

namespace baton::gateway {

// Any thread. Destroying it cancels what is open and waits for its end: what the calls refer to may
// go away afterwards.
class OpenCalls {
 public:
  ~OpenCalls() {
    absl::MutexLock lock(&mutex_);
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
    mutex_.Await(absl::Condition(this, &OpenCalls::Empty));
  }

  void Add(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    contexts_.insert(context);
  }
  void Remove(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    contexts_.erase(context);
  }

 private:
  bool Empty() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return contexts_.empty(); }

  absl::Mutex mutex_;
  absl::flat_hash_set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
