// The small HTTP endpoint that every role has beside its gRPC port:
//   GET /metrics       Prometheus' text form of the registry and of this process's resources
//   GET /health/live   200 "ok", or 503 and the reason
//   GET /health/ready  the same
// Not for clients: no TLS, no keys; bind it where only operators reach it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "prometheus/collectable.h"

namespace baton {

struct MetricsServerOptions {
  std::string address;  // "127.0.0.1:9092"; port 0: any free one
  std::shared_ptr<prometheus::Collectable> registry;
  // Called per request from the endpoint's thread; they must not block. Empty: always OK.
  std::function<absl::Status()> live;
  std::function<absl::Status()> ready;
};

class MetricsServer {
 public:
  // Binds and serves at once, with one thread of its own, until destroyed. Errors: InvalidArgument
  // (address is not host:port), Unavailable (cannot be bound; names the address).
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Create(MetricsServerOptions options);
  virtual ~MetricsServer() = default;

  virtual int port() const = 0;
};

}  // namespace baton
