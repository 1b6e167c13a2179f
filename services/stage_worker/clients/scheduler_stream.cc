#include "services/stage_worker/clients/scheduler_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/rpc/status_conversion.h"

namespace baton::stage {
namespace {

// Reports of the steps in flight, heartbeats and progress: far fewer than this are ever waiting for
// a scheduler that reads.
constexpr size_t kMaxQueued = 4096;

}  // namespace

SchedulerStream::SchedulerStream(const std::shared_ptr<grpc::Channel>& channel,
                                 SchedulerListener* listener, v1::WorkerMessage first)
    : stub_(v1::Stage::NewStub(channel)),
      listener_(listener),
      last_heard_(std::chrono::steady_clock::now()) {
  // A scheduler that is being started again is reached as soon as it listens.
  context_.set_wait_for_ready(true);
  stub_->async()->Attach(&context_, this);
  AddHold();
  StartRead(&incoming_);
  Send(std::move(first));
  StartCall();
}

SchedulerStream::~SchedulerStream() {
  Cancel(absl::CancelledError("the worker leaves"));
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&done_));
}

void SchedulerStream::Send(v1::WorkerMessage message) {
  bool full = false;
  {
    const absl::MutexLock lock(&mutex_);
    if (!held_ || finishing_) return;
    full = outgoing_.size() >= kMaxQueued;
    if (!full) {
      message.set_sequence_number(next_outgoing_++);
      outgoing_.push_back(std::move(message));
      if (!writing_) StartNextWrite();
    }
  }
  if (full) {
    Cancel(absl::ResourceExhaustedError(
        absl::StrCat("the scheduler has not read ", kMaxQueued, " messages")));
  }
}

void SchedulerStream::StartNextWrite() {
  writing_ = true;
  StartWrite(&outgoing_.front());
}

void SchedulerStream::OnWriteDone(bool ok) {
  const absl::MutexLock lock(&mutex_);
  writing_ = false;
  outgoing_.pop_front();
  if (!ok || !held_) return;
  if (!outgoing_.empty()) return StartNextWrite();
  if (finishing_) StartWritesDone();
}

void SchedulerStream::FinishSending() {
  const absl::MutexLock lock(&mutex_);
  if (!held_ || finishing_) return;
  finishing_ = true;
  if (!writing_) StartWritesDone();
}

void SchedulerStream::Cancel(const absl::Status& reason) {
  {
    const absl::MutexLock lock(&mutex_);
    if (done_) return;
    if (cancel_reason_.ok()) cancel_reason_ = reason;
  }
  context_.TryCancel();
  ReleaseHold();
}

void SchedulerStream::ReleaseHold() {
  {
    const absl::MutexLock lock(&mutex_);
    if (!held_) return;
    held_ = false;
  }
  RemoveHold();
}

void SchedulerStream::OnReadDone(bool ok) {
  if (!ok) return ReleaseHold();
  {
    const absl::MutexLock lock(&mutex_);
    last_heard_ = std::chrono::steady_clock::now();
  }
  if (incoming_.sequence_number() != next_incoming_) {
    Cancel(
        absl::DataLossError(absl::StrCat("the scheduler's message ", next_incoming_,
                                         " is missing: ", incoming_.sequence_number(), " came")));
    return;
  }
  ++next_incoming_;
  listener_->OnMessage(incoming_);
  StartRead(&incoming_);
}

void SchedulerStream::OnDone(const grpc::Status& status) {
  absl::Status reason = FromGrpcStatus(status);
  {
    const absl::MutexLock lock(&mutex_);
    if (!cancel_reason_.ok()) reason = cancel_reason_;
  }
  listener_->OnClosed(std::move(reason));
  const absl::MutexLock lock(&mutex_);
  done_ = true;
}

absl::Duration SchedulerStream::silence() const {
  const absl::MutexLock lock(&mutex_);
  return absl::FromChrono(std::chrono::steady_clock::now() - last_heard_);
}

}  // namespace baton::stage
