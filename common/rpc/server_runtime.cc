#include "common/rpc/server_runtime.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <sys/resource.h>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/impl/server_initializer.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/metrics/metrics_server.h"
#include "common/rpc/connection_limits.h"
#include "common/rpc/ports_file.h"
#include "common/rpc/shutdown_events.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(1);

// gRPC tells the names of a server's services only to plug-ins of the builder; the health service
// needs them. Filled while this thread runs BuildAndStart.
thread_local std::vector<std::string>* names_of_services = nullptr;

class ServiceNamesPlugin final : public grpc::ServerBuilderPlugin {
 public:
  std::string name() override { return "baton.service_names"; }
  void InitServer(grpc::ServerInitializer*) override {}
  void Finish(grpc::ServerInitializer* initializer) override {
    if (names_of_services != nullptr) *names_of_services = *initializer->GetServiceList();
  }
  void ChangeArguments(const std::string&, void*) override {}
};

std::unique_ptr<grpc::ServerBuilderPlugin> MakeServiceNamesPlugin() {
  return std::make_unique<ServiceNamesPlugin>();
}

void InstallPluginsOnce() {
  [[maybe_unused]] static const bool installed = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder::InternalAddPluginFactory(&MakeServiceNamesPlugin);
    return true;
  }();
}

void SetLimits(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kMinPingIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_TCP_TX_ZEROCOPY_ENABLED, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  // Two servers on one port would each get half of the calls; a taken port is an error.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder->SetMaxSendMessageSize(kMaxReceiveBytes);
}

// A connection is a descriptor, and the usual soft limit of 1024 exists for programs that call
// select, which nothing here does.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    BATON_LOG(WARNING) << "the limit of open files stays at " << before << ": "
                       << std::strerror(errno);
}

class GrpcServerRuntime final : public ServerRuntime {
 public:
  GrpcServerRuntime(ServerOptions options, std::unique_ptr<ShutdownEvents> events)
      : options_(std::move(options)),
        events_(std::move(events)),
        live_(options_.live),
        ready_gauge_(prometheus::BuildGauge()
                         .Name("baton_ready")
                         .Help("1 while this process can do its work.")
                         .Register(*registry_)
                         .Add({{"role", options_.role}})) {}

  ~GrpcServerRuntime() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  void AddService(grpc::Service* service) override { services_.push_back(service); }

  void SetLiveCheck(std::function<absl::Status()> live) override {
    absl::MutexLock lock(&live_mutex_);
    live_ = std::move(live);
  }

  void AddPort(std::string name, int port) override { ports_[std::move(name)] = port; }

  absl::Status Start() override {
    InstallPluginsOnce();
    grpc::ServerBuilder builder;
    SetLimits(&builder);
    builder.AddListeningPort(options_.listen_address, options_.identity->ToServe(options_.callers),
                             &grpc_port_);
    for (grpc::Service* service : services_) builder.RegisterService(service);
    names_of_services = &service_names_;
    server_ = builder.BuildAndStart();
    names_of_services = nullptr;
    if (server_ == nullptr || grpc_port_ == 0)
      return absl::UnavailableError(
          absl::StrCat(options_.role, " cannot listen on ", options_.listen_address,
                       ": is the address in use, or not of this machine?"));
    SetReady(false);
    if (!options_.metrics_address.empty()) RETURN_IF_ERROR(StartMetrics());
    ports_["grpc"] = grpc_port_;
    ports_["metrics"] = metrics_port();
    if (!options_.ports_file.empty()) RETURN_IF_ERROR(WritePortsFile(options_.ports_file, ports_));
    BATON_LOG(INFO) << options_.role << " listens on port " << grpc_port_ << ", metrics on "
                    << metrics_port();
    return absl::OkStatus();
  }

  int grpc_port() const override { return grpc_port_; }
  int metrics_port() const override { return metrics_ == nullptr ? 0 : metrics_->port(); }
  std::shared_ptr<prometheus::Registry> registry() override { return registry_; }

  void SetReady(bool ready) override {
    ready_.store(ready);
    ready_gauge_.Set(ready ? 1 : 0);
    if (server_ == nullptr) return;
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus("", ready);
    for (const std::string& name : service_names_) health->SetServingStatus(name, ready);
  }
  bool ready() const override { return ready_.load(); }

  void RequestShutdown(std::string reason) override { events_->Request(std::move(reason)); }

  absl::Status RunUntilShutdown(std::function<void(absl::Time deadline)> drain) override {
    if (server_ == nullptr) return absl::FailedPreconditionError("the server was not started");
    const std::string reason = events_->Wait(absl::InfiniteFuture());
    BATON_LOG(INFO) << options_.role << " stops: " << reason;
    SetReady(false);
    std::thread drainer;
    std::atomic<bool> drained{drain == nullptr};
    if (drain != nullptr)
      drainer = std::thread([&, deadline = SteadyNow() + options_.drain_timeout] {
        drain(deadline);
        drained.store(true);
        events_->Request("drained");
      });
    bool skipped = false;
    while (!drained.load() && !skipped) {
      const std::string event = events_->Wait(absl::InfiniteFuture());
      skipped = absl::StartsWith(event, "SIG");
    }
    if (skipped) BATON_LOG(WARNING) << options_.role << ": second signal, the drain is skipped";
    server_->Shutdown(absl::ToChronoTime(absl::Now() + (skipped ? absl::ZeroDuration() : kGrace)));
    const absl::Time last = SteadyNow() + kGrace;
    while (!drained.load() && SteadyNow() < last) events_->Wait(last);
    if (!drained.load()) {
      BATON_LOG(ERROR) << options_.role << ": the drain does not end; leaving it behind";
      std::_Exit(1);
    }
    if (drainer.joinable()) drainer.join();
    {
      absl::MutexLock lock(&live_mutex_);
      live_ = nullptr;
    }
    BATON_LOG(INFO) << options_.role << " has stopped";
    return absl::OkStatus();
  }

 private:
  absl::Status StartMetrics() {
    MetricsServerOptions metrics;
    metrics.address = options_.metrics_address;
    metrics.registry = registry_;
    metrics.live = [this] {
      absl::MutexLock lock(&live_mutex_);
      return live_ == nullptr ? absl::OkStatus() : live_();
    };
    metrics.ready = [this] {
      return ready() ? absl::OkStatus() : absl::UnavailableError("not ready");
    };
    ASSIGN_OR_RETURN(metrics_, MetricsServer::Create(std::move(metrics)));
    return absl::OkStatus();
  }

  const ServerOptions options_;
  const std::unique_ptr<ShutdownEvents> events_;
  absl::Mutex live_mutex_;  // held while the check runs, so that it can be taken away
  std::function<absl::Status()> live_ ABSL_GUARDED_BY(live_mutex_);
  const std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  prometheus::Gauge& ready_gauge_;
  std::atomic<bool> ready_{false};
  std::vector<grpc::Service*> services_;
  std::map<std::string, int> ports_;
  std::vector<std::string> service_names_;  // written by Start only
  int grpc_port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<MetricsServer> metrics_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ServerRuntime>> ServerRuntime::Create(ServerOptions options) {
  if (options.role.empty()) return absl::InvalidArgumentError("a server needs a role");
  if (options.listen_address.find(':') == std::string::npos)
    return absl::InvalidArgumentError(
        absl::StrCat("listen address \"", options.listen_address, "\" is not host:port"));
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();
  // Debian's Abseil records the order of every lock taken, to report cycles: work for each token
  // that the thread sanitizer does where it is wanted.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  ASSIGN_OR_RETURN(std::unique_ptr<ShutdownEvents> events, ShutdownEvents::Create());
  return std::make_unique<GrpcServerRuntime>(std::move(options), std::move(events));
}

}  // namespace baton
