// A scheduler for one stage-worker at a time: does what a test says, remembers what the worker
// says.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"

#include "protos/baton/v1/stage.grpc.pb.h"

namespace baton::fakes {

// Any thread.
class FakeStageScheduler final : private v1::Stage::Service {
 public:
  // Serves on a free port of 127.0.0.1.
  FakeStageScheduler();
  ~FakeStageScheduler() override;

  std::string address() const;

  // The next message of the kind that has not been taken yet, over all sessions; heartbeats and
  // progress are passed over. DeadlineExceeded; FailedPrecondition if another kind came.
  absl::StatusOr<v1::WorkerMessage> Next(v1::WorkerMessage::MessageCase kind);
  // Waits for a heartbeat of which `condition` is true, the last one first; unset if none comes.
  std::optional<v1::Heartbeat> WaitForHeartbeat(
      const std::function<bool(const v1::Heartbeat&)>& condition);
  // Sends to the worker of the current session, under the next sequence number.
  void Send(v1::SchedulerMessage message);
  // Ends the current session with `status`.
  void EndSession(const grpc::Status& status);
  // Every registration is refused with `status` from now on.
  void Refuse(const grpc::Status& status);
  // Waits until a registration was refused.
  bool WaitForRefusal();
  int num_sessions() const;
  // Sessions that began with something else than a registration.
  int num_early_messages() const;
  // Waits until the worker has ended the current session itself.
  bool WaitForSessionEnd();

 private:
  using Stream = grpc::ServerReaderWriter<v1::SchedulerMessage, v1::WorkerMessage>;

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override;

  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  mutable absl::Mutex mutex_;
  std::deque<v1::WorkerMessage> received_ ABSL_GUARDED_BY(mutex_);
  v1::Heartbeat last_heartbeat_ ABSL_GUARDED_BY(mutex_);
  Stream* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::Status ending_ ABSL_GUARDED_BY(mutex_);
  grpc::Status refusal_ ABSL_GUARDED_BY(mutex_);
  int num_refusals_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int num_sessions_ ABSL_GUARDED_BY(mutex_) = 0;
  int num_early_messages_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::fakes
