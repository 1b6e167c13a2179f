// One live WatchGroup: writes the newest state of the group whenever there is a newer one.
#pragma once

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/scheduler/pipeline/group_watch.h"

namespace baton::scheduler {

class WatchGroupCall final : public grpc::ServerWriteReactor<v1::GroupState>, public GroupWatcher {
 public:
  // The reactor of a new call; it frees itself when the call is over. `watch` must outlive it.
  static grpc::ServerWriteReactor<v1::GroupState>* Start(const v1::WatchGroupRequest& request,
                                                         GroupWatch* watch);

  void Notify(const v1::GroupState& state) override;
  void End() override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  using Reactor = grpc::ServerWriteReactor<v1::GroupState>;

  WatchGroupCall() = default;
  void FinishWith(absl::Status status);
  // Starts what is possible; leaves the lock before it calls gRPC.
  void Advance();

  std::shared_ptr<WatchGroupCall> self_;  // until OnDone
  v1::GroupState current_;                // being written
  absl::Mutex mutex_;
  std::optional<v1::GroupState> pending_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::scheduler
