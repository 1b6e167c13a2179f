#include "services/scheduler/scheduling_service.h"

#include "services/scheduler/calls/watch_group_call.h"

namespace baton::scheduler {

grpc::ServerWriteReactor<v1::SubmitResponse>* SchedulingService::Submit(
    grpc::CallbackServerContext* context, const v1::SubmitRequest* request) {
  return SubmitCall::Start(context, *request, submit_);
}

grpc::ServerWriteReactor<v1::GroupState>* SchedulingService::WatchGroup(
    grpc::CallbackServerContext* /*context*/, const v1::WatchGroupRequest* request) {
  return WatchGroupCall::Start(*request, watch_);
}

}  // namespace baton::scheduler
