// One live Attach: a stage-worker's stream. Passes its messages to the step loop and the loop's
// messages to the worker.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/pipeline/stage_link.h"
#include "services/scheduler/pipeline/step_loop.h"

namespace baton::scheduler {

class AttachCall final : public grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>,
                         public StageLink {
 public:
  // Messages that may wait for a worker; a healthy one has at most the steps in flight and a
  // heartbeat.
  static constexpr size_t kMaxOutbox = 256;

  // The reactor of a new call; it frees itself when the call is over. `loop` must outlive it.
  static grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* Start(
      grpc::CallbackServerContext* context, StepLoop* loop);

  // StageLink, for the step loop.
  bool Send(v1::SchedulerMessage message) override;
  void Close(const absl::Status& status) override;
  void Cut(const absl::Status& status) override;

  // gRPC's callbacks.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { self_.reset(); }

 private:
  using Reactor = grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>;

  AttachCall(grpc::CallbackServerContext* context, StepLoop* loop)
      : context_(context), loop_(loop) {}
  // InvalidArgument unless `incoming_` is the message that has to come next.
  absl::Status CheckIncoming();
  // Starts what is possible; leaves the lock before it calls gRPC.
  void Advance();

  grpc::CallbackServerContext* const context_;
  StepLoop* const loop_;
  std::shared_ptr<AttachCall> self_;  // until OnDone
  v1::WorkerMessage incoming_;        // being read
  uint64_t num_received_ = 0;         // of the reading callback
  v1::SchedulerMessage current_;      // being written
  absl::Mutex mutex_;
  std::deque<v1::SchedulerMessage> outbox_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::scheduler
