// The Scheduling service (scheduling.proto): each call becomes an object in calls/.
#pragma once

#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "services/scheduler/calls/submit_call.h"
#include "services/scheduler/pipeline/group_watch.h"

namespace baton::scheduler {

class SchedulingService final : public v1::Scheduling::CallbackService {
 public:
  // What `submit` names and `watch` must outlive the server.
  SchedulingService(const SubmitContext& submit, GroupWatch* watch)
      : submit_(submit), watch_(watch) {}

  grpc::ServerWriteReactor<v1::SubmitResponse>* Submit(grpc::CallbackServerContext* context,
                                                       const v1::SubmitRequest* request) override;
  grpc::ServerWriteReactor<v1::GroupState>* WatchGroup(
      grpc::CallbackServerContext* context, const v1::WatchGroupRequest* request) override;

 private:
  const SubmitContext submit_;
  GroupWatch* const watch_;
};

}  // namespace baton::scheduler
