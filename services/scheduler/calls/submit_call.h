// One live Submit: hands the request to the step loop and its tokens to the caller. No thread of
// its own; gRPC calls back.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/scheduler/calls/live_calls.h"
#include "services/scheduler/calls/unread_calls.h"
#include "services/scheduler/pipeline/step_loop.h"
#include "services/scheduler/pipeline/step_observer.h"
#include "services/scheduler/pipeline/token_sink.h"

namespace baton::scheduler {

// What every Submit needs; all must outlive the server's calls.
struct SubmitContext {
  StepLoop* loop = nullptr;
  LiveCalls* live_calls = nullptr;
  UnreadCalls* unread_calls = nullptr;
  StepObserver* observer = nullptr;  // only OnRefused is called
  uint32_t vocab_size = 0;
};

// Tokens that wait for a write in progress are joined into messages of at most kMaxMessageTokens;
// at kMaxUnreadTokens the sink is full, until all but a quarter of them are written.
class SubmitCall final : public grpc::ServerWriteReactor<v1::SubmitResponse>,
                         public TokenSink,
                         public UnreadCall {
 public:
  // The reactor of a new call; it frees itself when the call is over.
  static grpc::ServerWriteReactor<v1::SubmitResponse>* Start(grpc::CallbackServerContext* context,
                                                             const v1::SubmitRequest& request,
                                                             const SubmitContext& submit);

  // TokenSink, for the step loop.
  PushResult Push(v1::SubmitResponse response) override;
  void Finish(const absl::Status& status, absl::Duration retry_after) override;
  MonotonicTime last_taken() const override { return last_taken_; }

  // UnreadCall.
  void CutOff() override;
  const std::string& fairness_key() const override { return fairness_key_; }

  // gRPC's callbacks.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Reactor = grpc::ServerWriteReactor<v1::SubmitResponse>;
  // What to ask of gRPC once the lock is released: it may call back at once.
  enum class Action { kNone, kWrite, kWriteAndFinish, kFinish };

  SubmitCall(grpc::CallbackServerContext* context, const SubmitContext& submit)
      : context_(context), submit_(submit) {}
  void Begin(const v1::SubmitRequest& request);
  // What is possible now that no write is in progress.
  Action NextLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Do(Action action);

  grpc::CallbackServerContext* const context_;
  const SubmitContext submit_;
  SequenceId id_ = 0;
  bool entered_ = false;      // counted in live_calls, until Finish
  std::string fairness_key_;  // written before anybody asks
  std::atomic<MonotonicTime> last_taken_{std::chrono::steady_clock::now()};
  std::shared_ptr<SubmitCall> self_;  // until OnDone
  v1::SubmitResponse current_;        // being written; touched only while none is
  mutable absl::Mutex mutex_;
  v1::SubmitResponse pending_ ABSL_GUARDED_BY(mutex_);
  bool has_pending_ ABSL_GUARDED_BY(mutex_) = false;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;  // and the step loop is to hear when it is not
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;  // the context is no more
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status final_status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::scheduler
