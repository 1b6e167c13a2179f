// What the gateway knows about the group behind it, and whether it may serve.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Follows WatchGroup and begins again when it ends. Started and destroyed on the executor's thread;
// the state may be read from any thread.
class GroupWatch {
 public:
  struct Options {
    std::string model_fingerprint;  // of the model whose tokenizer and template are loaded here
    // At every change, on the executor's thread.
    std::function<void(const v1::GroupState& state, const absl::Status& readiness)> on_change;
  };

  // `client` and `executor` must outlive this.
  GroupWatch(SchedulerClient& client, Executor& executor, Options options);

  void Start();

  // OK when a token can be produced now; else Unavailable saying what is missing, or
  // FailedPrecondition when the stages run another model.
  absl::Status readiness() const ABSL_LOCKS_EXCLUDED(mutex_);
  v1::GroupState state() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void OnState(const v1::GroupState& state);
  void OnLost(const absl::Status& status);
  void Publish(v1::GroupState state, absl::Status readiness) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Judge(const v1::GroupState& state) const;

  SchedulerClient& client_;
  Executor& executor_;
  const Options options_;
  std::unique_ptr<GroupStream> stream_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false for delayed work
  mutable absl::Mutex mutex_;
  v1::GroupState state_ ABSL_GUARDED_BY(mutex_);
  absl::Status readiness_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
