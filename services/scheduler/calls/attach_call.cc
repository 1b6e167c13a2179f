#include "services/scheduler/calls/attach_call.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/rpc/status_conversion.h"

namespace baton::scheduler {

grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* AttachCall::Start(
    grpc::CallbackServerContext* context, StepLoop* loop) {
  std::shared_ptr<AttachCall> call(new AttachCall(context, loop));
  call->self_ = call;
  call->StartRead(&call->incoming_);
  return call.get();
}

absl::Status AttachCall::CheckIncoming() {
  if (incoming_.sequence_number() != num_received_) {
    return absl::InvalidArgumentError(absl::StrCat("message ", incoming_.sequence_number(),
                                                   " of the stream where ", num_received_,
                                                   " has to come"));
  }
  if (num_received_ == 0 && !incoming_.has_register_()) {
    return absl::InvalidArgumentError("the first message of the stream is not a registration");
  }
  ++num_received_;
  return absl::OkStatus();
}

void AttachCall::OnReadDone(bool ok) {
  absl::Status status = ok ? CheckIncoming() : absl::OkStatus();
  if (ok && status.ok()) {
    if (loop_->Post(StageMessageEvent{self_, std::exchange(incoming_, {})})) {
      StartRead(&incoming_);
      return;
    }
    status = absl::ResourceExhaustedError("the scheduler is behind or shutting down");
  }
  {
    absl::MutexLock lock(&mutex_);
    if (!ok) outbox_.clear();
  }
  Close(status);
  // Should the inbox be full just now, the loop notices the silence instead.
  loop_->Post(StageClosedEvent{
      self_, ok ? status : absl::UnavailableError("the stream of its worker has ended")});
}

bool AttachCall::Send(v1::SchedulerMessage message) {
  {
    absl::MutexLock lock(&mutex_);
    if (final_status_.has_value() || outbox_.size() >= kMaxOutbox) return false;
    outbox_.push_back(std::move(message));
  }
  Advance();
  return true;
}

void AttachCall::Close(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (!final_status_.has_value()) final_status_ = status;
  }
  Advance();
}

void AttachCall::Cut(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (final_status_.has_value()) return;  // it ends already, and in order
    final_status_ = status;
    outbox_.clear();
    // A write to a frozen worker never ends by itself. The context lives while not finished.
    if (writing_) context_->TryCancel();
  }
  Advance();
}

void AttachCall::Advance() {
  std::optional<absl::Status> finish;
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || finished_) return;
    if (!outbox_.empty()) {
      current_ = std::move(outbox_.front());
      outbox_.pop_front();
      current_.set_sequence_number(next_number_++);
      writing_ = true;
    } else if (final_status_.has_value()) {
      finished_ = true;
      finish = final_status_;
    } else {
      return;
    }
  }
  if (finish.has_value()) {
    Reactor::Finish(ToGrpcStatus(*finish));
  } else {
    StartWrite(&current_);
  }
}

void AttachCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) outbox_.clear();  // the reading callback sees the end too
  }
  Advance();
}

}  // namespace baton::scheduler
