// This worker's end of the scheduler's Stage.Attach stream.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

#include "protos/baton/v1/stage.grpc.pb.h"

namespace baton::stage {

// Hears of a stream. Calls come from gRPC's threads, one at a time; they must not block for long.
class SchedulerListener {
 public:
  virtual ~SchedulerListener() = default;

  virtual void OnMessage(const v1::SchedulerMessage& message) = 0;
  // Last call: the scheduler ended the stream, the connection broke, or Cancel was called.
  virtual void OnClosed(absl::Status status) = 0;
};

class SchedulerStream final
    : private grpc::ClientBidiReactor<v1::WorkerMessage, v1::SchedulerMessage> {
 public:
  // Starts the stream with `first` as its first message, once the scheduler can be reached;
  // `listener` must outlive this object.
  SchedulerStream(const std::shared_ptr<grpc::Channel>& channel, SchedulerListener* listener,
                  v1::WorkerMessage first);
  // Cancels and waits for OnClosed.
  ~SchedulerStream() override;

  // Queues `message` under the next sequence number; does not wait. A scheduler that does not read
  // ends the stream (ResourceExhausted to OnClosed) before the queue grows past its bound. Any
  // thread.
  void Send(v1::WorkerMessage message);
  // Ends the stream once everything queued is sent. Any thread.
  void FinishSending();
  // Ends the stream now; `reason` goes to OnClosed unless it has ended already. Any thread.
  void Cancel(const absl::Status& reason);
  // Since the last message came, or the stream began. Any thread.
  absl::Duration silence() const;

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void StartNextWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReleaseHold();

  const std::unique_ptr<v1::Stage::Stub> stub_;
  SchedulerListener* const listener_;
  grpc::ClientContext context_;
  v1::SchedulerMessage incoming_;
  uint64_t next_incoming_ = 0;  // sequence number; gRPC's read thread only

  mutable absl::Mutex mutex_;
  std::deque<v1::WorkerMessage> outgoing_ ABSL_GUARDED_BY(mutex_);  // the front one is being sent
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = true;  // writes from outside the reactor are allowed
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_outgoing_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status cancel_reason_ ABSL_GUARDED_BY(mutex_);
  // Not the wall clock: that may be set while the stream stands.
  std::chrono::steady_clock::time_point last_heard_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
