#include "services/scheduler/calls/watch_group_call.h"

#include <utility>

#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"

namespace baton::scheduler {

grpc::ServerWriteReactor<v1::GroupState>* WatchGroupCall::Start(
    const v1::WatchGroupRequest& request, GroupWatch* watch) {
  std::shared_ptr<WatchGroupCall> call(new WatchGroupCall());
  call->self_ = call;
  if (absl::Status status = CheckPeer(request.peer(), "scheduler"); !status.ok()) {
    call->FinishWith(std::move(status));
  } else if (!watch->Add(call)) {
    call->FinishWith(absl::ResourceExhaustedError("too many watch the group already"));
  }
  return call.get();
}

void WatchGroupCall::Notify(const v1::GroupState& state) {
  {
    absl::MutexLock lock(&mutex_);
    pending_ = state;
  }
  Advance();
}

void WatchGroupCall::End() { FinishWith(absl::UnavailableError("the scheduler is shutting down")); }

void WatchGroupCall::FinishWith(absl::Status status) {
  {
    absl::MutexLock lock(&mutex_);
    if (!final_status_.has_value()) final_status_ = std::move(status);
  }
  Advance();
}

void WatchGroupCall::Advance() {
  std::optional<absl::Status> finish;
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || finished_) return;
    if (final_status_.has_value()) {
      finished_ = true;
      finish = final_status_;
    } else if (pending_.has_value()) {
      current_ = *std::exchange(pending_, std::nullopt);
      writing_ = true;
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

void WatchGroupCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) pending_.reset();  // OnCancel follows
  }
  Advance();
}

void WatchGroupCall::OnCancel() { FinishWith(absl::CancelledError("cancelled by its caller")); }

}  // namespace baton::scheduler
