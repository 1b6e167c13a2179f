// The life of a server process, the same in all four roles: start, serve, drain, stop.
//
//   ASSIGN_OR_RETURN(auto runtime, ServerRuntime::Create(options));
//   runtime->AddService(&service);
//   RETURN_IF_ERROR(runtime->Start());
//   runtime->SetReady(true);                       // when this role can do its work
//   return runtime->RunUntilShutdown([&](absl::Time deadline) { service.Drain(deadline); });
//
// Every server has grpc.health.v1, server reflection and, on a port of its own, GET /metrics
// (Prometheus), /health/live and /health/ready. Keepalive and size limits are set as the design
// asks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/rpc/rpc_identity.h"

namespace grpc {
class Service;
}
namespace prometheus {
class Registry;
}

namespace baton {

struct ServerOptions {
  std::string role;             // "scheduler"; logged and in metrics
  std::string listen_address;   // "127.0.0.1:50052"; port 0: any free one
  std::string metrics_address;  // "127.0.0.1:9092"; port 0: any free one; empty: none
  std::string ports_file;       // if set, Start writes the bound ports there as JSON {"grpc": n,
                                // "metrics": n, ...}, atomically
  absl::Duration drain_timeout = absl::Seconds(30);
  std::shared_ptr<const RpcIdentity> identity = RpcIdentity::Plaintext();
  std::vector<AllowedCallers> callers;  // of the services that not every role may call
  // Says whether this process makes progress, for /health/live; asked per request, must not block.
  // Empty: a process that answers is alive.
  std::function<absl::Status()> live;
};

class ServerRuntime {
 public:
  // Blocks SIGTERM and SIGINT for all threads of the process (they are awaited by
  // RunUntilShutdown): call before starting any thread. Errors: InvalidArgument (options).
  static absl::StatusOr<std::unique_ptr<ServerRuntime>> Create(ServerOptions options);
  virtual ~ServerRuntime() = default;

  // Before Start. `service` must outlive this object.
  virtual void AddService(grpc::Service* service) = 0;
  // Before Start. Replaces ServerOptions::live; not asked any more once RunUntilShutdown returns.
  virtual void SetLiveCheck(std::function<absl::Status()> live) = 0;
  // Before Start. A port that this process opened itself and that the ports file names too, as
  // "http": n for example.
  virtual void AddPort(std::string name, int port) = 0;
  // Binds and serves; not ready yet. Errors: Unavailable naming the address that cannot be bound.
  virtual absl::Status Start() = 0;
  virtual int grpc_port() const = 0;
  virtual int metrics_port() const = 0;
  // Where this process's metrics are registered.
  virtual std::shared_ptr<prometheus::Registry> registry() = 0;
  // Sets grpc.health.v1 (every service and "") and /health/ready. Any thread.
  virtual void SetReady(bool ready) = 0;
  virtual bool ready() const = 0;
  // Asks RunUntilShutdown to return, as SIGTERM does. Any thread.
  virtual void RequestShutdown(std::string reason) = 0;
  // Waits for SIGTERM, SIGINT or RequestShutdown; then: ready off; `drain(deadline)` on a thread of
  // its own, which waits for the work that is worth finishing (deadline = now + drain_timeout);
  // server shutdown (calls still open one second after the drain are cancelled); join. A second
  // signal skips the drain and cancels at once; a drain that does not notice within a second more
  // is left behind by ending the process with status 1. Returns OK after an orderly stop.
  virtual absl::Status RunUntilShutdown(std::function<void(absl::Time deadline)> drain) = 0;
};

}  // namespace baton
