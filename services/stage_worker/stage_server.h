// Wires a stage-worker together and runs it until it is told to stop.
//
// Threads: the caller's awaits signals; the control thread runs the membership; gRPC's serve status
// and the scheduler's stream; one per device computes; on the last stage one compiles constraints;
// one drives UCX; one sends heartbeats; while loading, one per device packs weights. Where packed
// weights are kept, as many as the stage has check them while loading, and one writes them.
#pragma once

#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/rpc/server_runtime.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/membership/stage_membership.h"
#include "services/stage_worker/metrics/stage_metrics.h"
#include "services/stage_worker/stage_config.h"
#include "services/stage_worker/stage_status_service.h"

namespace baton::stage {

class StageServer final {
 public:
  // `runtime` and `backend` must outlive the server.
  StageServer(const StageConfig& config, ServerRuntime* runtime, kernels::Backend* backend);

  // Serves until SIGTERM, or until the membership ends for good; returns its error then.
  absl::Status Run();

 private:
  StageConfig config_;
  ServerRuntime* const runtime_;
  kernels::Backend* const backend_;
  StageMetrics metrics_;
  std::unique_ptr<StageMembership> membership_;
};

}  // namespace baton::stage
