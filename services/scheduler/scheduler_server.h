// A scheduler process, put together. Threads and what they own:
//
//   step loop (1)    every sequence, the block ledger, the stages' membership; sends and decides
//   gRPC callbacks   nothing: they check messages, post events to the step loop's inbox and write
//   (a few)          what it hands to a call
//   runtime          signals, health, /metrics
//
// Shutdown, in this order: not ready; the step loop takes nothing new and drains; stages leave;
// watchers end; the gRPC server stops; the step loop is gone.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/rpc/server_runtime.h"
#include "services/scheduler/calls/live_calls.h"
#include "services/scheduler/calls/unread_calls.h"
#include "services/scheduler/pipeline/group_watch.h"
#include "services/scheduler/pipeline/step_loop.h"
#include "services/scheduler/scheduler_config.h"
#include "services/scheduler/scheduler_metrics.h"
#include "services/scheduler/scheduling_service.h"
#include "services/scheduler/stage_service.h"

namespace baton::scheduler {

class SchedulerServer final {
 public:
  // Serves at once. Errors: as ResolveGroup; Unavailable (an address cannot be bound).
  static absl::StatusOr<std::unique_ptr<SchedulerServer>> Create(const SchedulerConfig& config);
  ~SchedulerServer();

  int grpc_port() const { return runtime_->grpc_port(); }
  int metrics_port() const { return runtime_->metrics_port(); }
  // Serves until SIGTERM, SIGINT or RequestShutdown, then drains.
  absl::Status RunUntilShutdown();
  void RequestShutdown(std::string reason) { runtime_->RequestShutdown(std::move(reason)); }

 private:
  class Readiness;

  SchedulerServer() = default;
  void Drain(absl::Time deadline);

  std::unique_ptr<ServerRuntime> runtime_;
  std::unique_ptr<SchedulerMetrics> metrics_;
  GroupWatch watch_;
  std::shared_ptr<Readiness> readiness_;
  std::unique_ptr<LiveCalls> live_calls_;
  std::unique_ptr<UnreadCalls> unread_calls_;
  std::unique_ptr<StepLoop> loop_;
  std::unique_ptr<SchedulingService> scheduling_service_;
  std::unique_ptr<StageService> stage_service_;
};

}  // namespace baton::scheduler
