// What calls work with. `gateway_server` owns all of it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"
#include "services/gateway/admission/api_keys.h"
#include "services/gateway/admission/early_gate.h"
#include "services/gateway/admission/rate_limits.h"
#include "services/gateway/admission/request_slots.h"
#include "services/gateway/admission/request_validator.h"
#include "services/gateway/calls/live_requests.h"
#include "services/gateway/calls/text_queue.h"
#include "services/gateway/clients/group_watch.h"
#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/http/access_log.h"
#include "services/gateway/http/cors.h"
#include "services/gateway/loop/executor.h"
#include "services/gateway/metrics/gateway_metrics.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

// Under what names answers carry the reasoning.
struct ReasoningNames {
  bool reasoning = true;
  bool reasoning_content = true;
};

// All references outlive every call.
struct GatewayContext {
  const ServedModel& model;
  const ApiKeys& api_keys;
  RequestValidator& validator;
  RequestSlots& slots;
  RateLimits& rate_limits;      // the loop's
  LiveRequests& live_requests;  // the loop's
  EarlyGate& gate;              // the loop's
  SchedulerClient& scheduler;
  GroupWatch& group;
  GatewayMetrics& metrics;
  Executor& loop;         // owns the state of live requests
  TextQueue& text_queue;  // parses and encodes long prompts, so that the loop is never held up
  absl::Duration request_timeout = absl::Seconds(600);
  bool log_requests = true;
  absl::Duration stall_limit = absl::Seconds(30);     // a gRPC stream's client that takes nothing
  absl::Duration sse_keep_alive = absl::Seconds(15);  // silence before a comment; 0: never
  bool tokenizer_info = false;                        // /tokenizer_info is served
  bool force_include_usage = false;  // every chunk of a stream has the usage, asked for or not
  ReasoningNames reasoning_names = {};
  CorsPolicy cors{CorsOptions()};
  std::string openapi_document = {};  // what /openapi.json answers
  AccessLogFormat access_log = AccessLogFormat::kNone;
  bool public_metrics = true;  // /metrics stands on the API's port too
  // Of an answer that is not streamed, which is kept until its end.
  size_t max_whole_answer_bytes = 64 << 20;
  // The clock of rate_limits.
  std::function<absl::Time()> rate_clock = SteadyNow;
};

}  // namespace baton::gateway
