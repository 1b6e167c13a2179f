#include "services/gateway/gateway_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/status/status_macros.h"
#include "services/gateway/calls/api_router.h"
#include "services/gateway/clients/grpc_scheduler_client.h"
#include "services/gateway/clients/resuming_scheduler_client.h"
#include "services/gateway/inference_service.h"
#include "services/gateway/loop/event_loop.h"
#include "services/gateway/loop/loop_pulse.h"
#include "services/gateway/pages/openapi_document.h"

namespace baton::gateway {
namespace {

// Left of the drain time for telling those that did not finish.
constexpr absl::Duration kAbortTime = absl::Seconds(1);

class GatewayServerImpl final : public GatewayServer {
 public:
  GatewayServerImpl(const GatewayConfig& config, std::unique_ptr<const ServedModel> model,
                    ServerRuntime* runtime);
  ~GatewayServerImpl() override;

  absl::Status Start(Listener listener);
  int http_port() const override { return http_->port(); }
  absl::Status Run() override {
    return runtime_->RunUntilShutdown([this](absl::Time deadline) { Drain(deadline); });
  }

 private:
  void OnGroupChange(const v1::GroupState& state, const absl::Status& readiness);
  void Drain(absl::Time deadline);

  const GatewayConfig config_;
  ServerRuntime* const runtime_;
  const std::unique_ptr<const ServedModel> model_;
  ApiKeys api_keys_;
  RequestValidator validator_;
  RequestSlots slots_;
  RateLimits rate_limits_;      // the loop's
  LiveRequests live_requests_;  // likewise
  EarlyGate gate_;
  GatewayMetrics metrics_;
  EventLoop loop_;
  LoopPulse pulse_{loop_};
  EventLoop text_worker_;
  TextQueue text_queue_;
  GrpcSchedulerClient scheduler_;
  ResumingSchedulerClient sequences_;
  std::unique_ptr<GroupWatch> group_;  // made and destroyed on the loop
  GatewayContext context_;
  ApiRouter router_;
  InferenceService inference_;
  std::unique_ptr<HttpServer> http_;
};

GatewayServerImpl::GatewayServerImpl(const GatewayConfig& config,
                                     std::unique_ptr<const ServedModel> model,
                                     ServerRuntime* runtime)
    : config_(config),
      runtime_(runtime),
      model_(std::move(model)),
      api_keys_(config.api_keys),
      validator_(model_->defaults, model_->limits, config.caps),
      slots_(config.max_num_requests),
      gate_(config.early_refusal_time),
      metrics_(runtime->registry(), model_->names.front(), model_->limits.max_model_len),
      text_queue_(text_worker_, TextQueue::LimitsFor(config.http.limits.body_bytes)),
      scheduler_(CreateChannel(config.scheduler_address, "scheduler", *config.server.identity,
                               StreamWindow::kSmall),
                 MakePeerInfo("gateway"), loop_),
      sequences_(scheduler_, loop_,
                 {.patience = config.recovery_timeout,
                  .on_resubmission = [this] { metrics_.CountResubmission(); }}),
      group_(std::make_unique<GroupWatch>(
          scheduler_, loop_,
          GroupWatch::Options{
              .model_fingerprint = model_->fingerprint,
              .on_change = [this](
                               const v1::GroupState& state,
                               const absl::Status& readiness) { OnGroupChange(state, readiness); },
              .on_presence = [this](bool present) { sequences_.SetPresent(present); },
              .patience = config.recovery_timeout})),
      context_{.model = *model_,
               .api_keys = api_keys_,
               .validator = validator_,
               .slots = slots_,
               .rate_limits = rate_limits_,
               .live_requests = live_requests_,
               .gate = gate_,
               .scheduler = sequences_,
               .group = *group_,
               .metrics = metrics_,
               .loop = loop_,
               .text_queue = text_queue_,
               .request_timeout = config.request_timeout,
               .log_requests = config.log_requests,
               .stall_limit = config.http.limits.write_timeout,
               .sse_keep_alive = config.sse_keep_alive,
               .tokenizer_info = config.tokenizer_info,
               .force_include_usage = config.force_include_usage,
               .reasoning_names = config.reasoning_names,
               .cors = CorsPolicy(config.cors),
               .openapi_document = OpenApiDocument(config.caps),
               .access_log = config.access_log,
               .public_metrics = config.public_metrics,
               .max_whole_answer_bytes = config.max_whole_answer_bytes,
               .rate_clock = config.rate_clock},
      router_(context_),
      inference_(context_) {}

GatewayServerImpl::~GatewayServerImpl() {
  http_.reset();
  loop_.RunAndWait([this] { group_.reset(); });
  text_worker_.Stop();
}

absl::Status GatewayServerImpl::Start(Listener listener) {
  RETURN_IF_ERROR(api_keys_.Load());
  HttpServerOptions http = config_.http;
  http.body_watch = {.on_change = [this](int64_t num_bytes) { metrics_.AddBodyBytes(num_bytes); },
                     .on_refusal = [this] { metrics_.CountBodyRefusal(); }};
  ASSIGN_OR_RETURN(http_, HttpServer::Create(std::move(http), std::move(listener), loop_, router_));
  runtime_->AddService(&inference_);
  runtime_->SetLiveCheck([this] { return pulse_.Check(SteadyNow()); });
  runtime_->AddPort("http", http_->port());
  RETURN_IF_ERROR(runtime_->Start());
  loop_.Post([this] { group_->Start(); });
  BATON_LOG(INFO) << "serving " << absl::StrJoin(model_->names, ", ")
                  << (config_.http.tls.certificate_file.empty() ? " on http://" : " on https://")
                  << config_.http.host << ":" << http_->port() << "/v1, gRPC port "
                  << runtime_->grpc_port() << ", scheduler " << config_.scheduler_address
                  << ", API keys: " << api_keys_.Describe();
  return absl::OkStatus();
}

void GatewayServerImpl::OnGroupChange(const v1::GroupState& state, const absl::Status& readiness) {
  metrics_.SetGroupState(state, readiness.ok());
  if (absl::IsFailedPrecondition(readiness)) sequences_.FailWaiting(readiness);
  if (state.max_model_len() > 0) {
    validator_.SetMaxModelLen(
        std::min<int64_t>(model_->limits.max_model_len, state.max_model_len()));
  }
  const bool ready = readiness.ok() && slots_.CheckOpen().ok();
  if (ready != runtime_->ready()) runtime_->SetReady(ready);
}

void GatewayServerImpl::Drain(absl::Time deadline) {
  slots_.Drain();
  const absl::Duration total = std::max(deadline - SteadyNow(), absl::ZeroDuration());
  const absl::Time patience = deadline - std::min(kAbortTime, total / 4);
  if (!slots_.AwaitIdle(patience)) {
    BATON_LOG(WARNING) << slots_.num_taken()
                       << " requests did not finish before the drain deadline";
    http_->AbortCalls(absl::UnavailableError("the gateway is shutting down"));
    slots_.AwaitIdle(deadline);
  }
  if (!http_->AwaitSent(deadline)) {
    BATON_LOG(WARNING) << "clients had not taken their whole answers before the drain deadline";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Create(const GatewayConfig& config,
                                                                     ServerRuntime* runtime) {
  // Before the tokenizer is read, which takes a while: clients of a gateway that is started again
  // wait in the kernel instead of being refused.
  ASSIGN_OR_RETURN(Listener listener, Listener::Open(config.http.host, config.http.port));
  ASSIGN_OR_RETURN(auto model, ServedModel::Load(config.model));
  auto server = std::make_unique<GatewayServerImpl>(config, std::move(model), runtime);
  RETURN_IF_ERROR(server->Start(std::move(listener)));
  return server;
}

}  // namespace baton::gateway
