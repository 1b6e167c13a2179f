// The Stage service (stage.proto): stage-workers attach here.
#pragma once

#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/stage.grpc.pb.h"
#include "services/scheduler/pipeline/step_loop.h"

namespace baton::scheduler {

class StageService final : public v1::Stage::CallbackService {
 public:
  // `loop` must outlive the server.
  explicit StageService(StepLoop* loop) : loop_(loop) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::SchedulerMessage>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  StepLoop* const loop_;
};

}  // namespace baton::scheduler
