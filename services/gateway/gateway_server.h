// Builds a gateway from its configuration and runs it.
//
// Threads: the event loop owns every HTTP connection and every live request of both APIs; the text
// worker parses and encodes long prompts; one thread moves messages between the scheduler's wire
// and the loop; the calling thread waits for the end.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/rpc/server_runtime.h"
#include "services/gateway/gateway_config.h"

namespace baton::gateway {

class GatewayServer {
 public:
  virtual ~GatewayServer() = default;

  // Loads the model's text side, listens on all ports, starts to follow the group. `runtime` must
  // not be started yet and must outlive the server. Errors: what the parts say, naming file or
  // address.
  static absl::StatusOr<std::unique_ptr<GatewayServer>> Create(const GatewayConfig& config,
                                                               ServerRuntime* runtime);

  virtual int http_port() const = 0;

  // Serves until SIGTERM, SIGINT or ServerRuntime::RequestShutdown. Then: not ready, new requests
  // 503; running ones go on until the drain deadline, then end with an error. Answers that slow
  // readers have not taken yet are sent until that deadline too.
  virtual absl::Status Run() = 0;
};

}  // namespace baton::gateway
