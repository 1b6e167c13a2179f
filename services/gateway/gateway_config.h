// What the command line of baton-gateway says.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/concurrency/steady_time.h"
#include "common/rpc/server_runtime.h"
#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_server.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

struct GatewayConfig {
  ServerOptions server;  // gRPC, metrics, drain
  HttpServerOptions http;
  ServedModelOptions model;
  std::string scheduler_address;
  ApiKeys::Options api_keys;
  RequestCaps caps;
  size_t max_num_requests = 2048;  // more than a scheduler runs and lets wait: it decides
  absl::Duration early_refusal_time = absl::Milliseconds(100);
  absl::Duration request_timeout = absl::Seconds(600);
  size_t max_whole_answer_bytes = 64 << 20;  // of an answer that is not streamed
  absl::Duration recovery_timeout = absl::Seconds(30);
  bool log_requests = true;
  bool force_include_usage = false;
  ReasoningNames reasoning_names;
  absl::Duration sse_keep_alive = absl::Seconds(15);
  bool tokenizer_info = false;
  CorsOptions cors;
  AccessLogFormat access_log = AccessLogFormat::kNone;
  bool public_metrics = true;
  // Not of the command line: the clock of the keys' requests and tokens a minute.
  std::function<absl::Time()> rate_clock = SteadyNow;
};

// Flags after ParseCommandLine. Errors: InvalidArgument naming the flag.
absl::StatusOr<GatewayConfig> ReadGatewayConfig();

}  // namespace baton::gateway
