// StageStatus: what this stage holds now, for operators and tests.
#pragma once

#include <functional>

#include "grpcpp/server_context.h"

#include "protos/baton/v1/stage_status.grpc.pb.h"
#include "services/stage_worker/metrics/stage_snapshot.h"

namespace baton::stage {

class StageStatusService final : public v1::StageStatus::CallbackService {
 public:
  // `snapshot` is called from gRPC's threads.
  explicit StageStatusService(std::function<StageSnapshot()> snapshot)
      : snapshot_(std::move(snapshot)) {}

 private:
  grpc::ServerUnaryReactor* GetStageStatus(grpc::CallbackServerContext* context,
                                           const v1::GetStageStatusRequest* request,
                                           v1::GetStageStatusResponse* response) override;

  const std::function<StageSnapshot()> snapshot_;
};

}  // namespace baton::stage
