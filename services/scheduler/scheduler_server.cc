#include "services/scheduler/scheduler_server.h"

#include <chrono>
#include <random>
#include <utility>

#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::scheduler {
namespace {

// Room in the inbox for messages of stages, beside what every call may have in it: that it begins,
// that it is cancelled, that its reader has caught up.
constexpr size_t kStageEvents = 4096;
constexpr size_t kEventsPerCall = 3;

// Another one in each process, and not 0.
uint32_t DrawNonce() {
  std::random_device device;
  return std::uniform_int_distribution<uint32_t>(1)(device);
}

}  // namespace

// The process is ready when the group is.
class SchedulerServer::Readiness final : public GroupWatcher {
 public:
  explicit Readiness(ServerRuntime* runtime) : runtime_(runtime) {}

  void Notify(const v1::GroupState& state) override {
    if (runtime_->ready() != state.ready()) runtime_->SetReady(state.ready());
  }
  void End() override { runtime_->SetReady(false); }

 private:
  ServerRuntime* const runtime_;
};

absl::StatusOr<std::unique_ptr<SchedulerServer>> SchedulerServer::Create(
    const SchedulerConfig& config) {
  ASSIGN_OR_RETURN(ResolvedGroup group, ResolveGroup(config));
  std::unique_ptr<SchedulerServer> server(new SchedulerServer());
  ServerOptions options;
  options.role = "scheduler";
  options.listen_address = config.listen_address;
  options.metrics_address = config.metrics_address;
  options.ports_file = config.ports_file;
  options.drain_timeout = config.drain_timeout;
  options.identity = config.identity;
  options.callers = {{v1::Scheduling::service_full_name(), {"gateway"}},
                     {v1::Stage::service_full_name(), {"stage-worker"}}};
  options.live = [loop = &server->loop_] {
    return (*loop)->CheckAlive(std::chrono::steady_clock::now());
  };
  ASSIGN_OR_RETURN(server->runtime_, ServerRuntime::Create(std::move(options)));
  server->metrics_ = std::make_unique<SchedulerMetrics>(server->runtime_->registry());
  server->readiness_ = std::make_shared<Readiness>(server->runtime_.get());
  server->watch_.Add(server->readiness_);

  const uint32_t vocab_size = group.schedule.vocab_size;
  const uint32_t max_calls = MostCalls(group.schedule.max_running, group.schedule.max_waiting);
  server->live_calls_ = std::make_unique<LiveCalls>(max_calls);
  server->unread_calls_ = std::make_unique<UnreadCalls>(max_calls);
  StepEngineOptions engine;
  engine.schedule = std::move(group.schedule);
  engine.plans = std::move(group.plans);
  engine.nonce = DrawNonce();
  engine.heartbeat_timeout = config.heartbeat_timeout;
  engine.step_timeout = config.step_timeout;
  engine.unready_grace = config.unready_grace;
  engine.reader_stall_timeout = config.reader_stall_timeout;
  engine.watch = &server->watch_;
  engine.observer = server->metrics_.get();
  server->loop_ =
      std::make_unique<StepLoop>(std::move(engine), kEventsPerCall * max_calls + kStageEvents);

  server->scheduling_service_ =
      std::make_unique<SchedulingService>(SubmitContext{.loop = server->loop_.get(),
                                                        .live_calls = server->live_calls_.get(),
                                                        .unread_calls = server->unread_calls_.get(),
                                                        .observer = server->metrics_.get(),
                                                        .vocab_size = vocab_size},
                                          &server->watch_);
  server->stage_service_ = std::make_unique<StageService>(server->loop_.get());
  server->runtime_->AddService(server->scheduling_service_.get());
  server->runtime_->AddService(server->stage_service_.get());
  RETURN_IF_ERROR(server->runtime_->Start());
  return server;
}

SchedulerServer::~SchedulerServer() {
  // Calls end with the gRPC server, and they use the loop: the server goes first.
  watch_.Close();
  runtime_.reset();
}

absl::Status SchedulerServer::RunUntilShutdown() {
  return runtime_->RunUntilShutdown([this](absl::Time deadline) { Drain(deadline); });
}

void SchedulerServer::Drain(absl::Time deadline) {
  loop_->Drain(deadline);
  watch_.Close();
  BATON_LOG(INFO) << "drained";
}

}  // namespace baton::scheduler
