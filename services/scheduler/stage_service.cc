#include "services/scheduler/stage_service.h"

#include "services/scheduler/calls/attach_call.h"

namespace baton::scheduler {

grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* StageService::Attach(
    grpc::CallbackServerContext* context) {
  return AttachCall::Start(context, loop_);
}

}  // namespace baton::scheduler
