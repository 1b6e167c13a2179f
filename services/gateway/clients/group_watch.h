// What the gateway knows about the group behind it, and whether it may serve.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"
#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Follows WatchGroup and begins again when it ends or falls silent: the scheduler sends its state
// several times a second. Started and destroyed on the executor's thread; the state may be read
// from any thread.
class GroupWatch {
 public:
  struct Options {
    std::string model_fingerprint;  // of the model whose tokenizer and template are loaded here
    // At every change, on the executor's thread.
    std::function<void(const v1::GroupState& state, const absl::Status& readiness)> on_change;
    // Whether a scheduler for this model answers, at every change of that, on the executor's
    // thread; absent at first. May be empty.
    std::function<void(bool present)> on_presence;
    // A scheduler that is silent for this long is lost.
    absl::Duration silence_limit = absl::Seconds(1);
    // A group that could serve, and is expected to again, is waited for this long.
    absl::Duration patience = absl::Seconds(30);
  };

  // `client` and `executor` must outlive this.
  GroupWatch(SchedulerClient& client, Executor& executor, Options options);

  void Start();

  // OK when a token can be produced now; else Unavailable saying what is missing, or
  // FailedPrecondition when the stages run another model.
  absl::Status readiness() const ABSL_LOCKS_EXCLUDED(mutex_);
  // OK when a new request may come: the group is ready, or expected to be within the patience that
  // a loss is given (also the first answer of the scheduler is); the request waits then. Else as
  // readiness().
  absl::Status CheckAccepting() const ABSL_LOCKS_EXCLUDED(mutex_);
  v1::GroupState state() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void OnState(const v1::GroupState& state);
  void OnLost(const absl::Status& status);
  void SetPresent(bool present);
  // Looks for silence at `due` and again until the stream that is open now ends.
  void ListenUntil(absl::Time due);
  void Publish(v1::GroupState state, absl::Status readiness) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Judge(const v1::GroupState& state) const;

  SchedulerClient& client_;
  Executor& executor_;
  const Options options_;
  std::unique_ptr<GroupStream> stream_;
  bool present_ = false;
  absl::Time last_heard_;
  absl::Duration pause_;             // before watching again
  std::shared_ptr<bool> listening_;  // one for each stream, for delayed work
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false for delayed work
  mutable absl::Mutex mutex_;
  v1::GroupState state_ ABSL_GUARDED_BY(mutex_);
  absl::Status readiness_ ABSL_GUARDED_BY(mutex_);
  // Since when a group that had served could not; the infinite past for one that never could.
  absl::Time unready_since_ ABSL_GUARDED_BY(mutex_) = SteadyNow();
};

}  // namespace baton::gateway
