// Probes and figures: what orchestrators and monitors ask.
#pragma once

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_message.h"

namespace baton::gateway {

// GET /health: 200 without a body while the group can produce tokens, else 503, as vLLM's probe.
HttpResponse Health(const GatewayContext& context);
// GET /health/live: 200 as soon as the event loop answers.
HttpResponse HealthLive();
// GET /health/ready: 200 when a new request would be accepted and answered; else 503 and why.
HttpResponse HealthReady(const GatewayContext& context);
// GET, POST /ping: as /health.
// GET /version.
HttpResponse Version();
// GET /load: sequences that run or wait.
HttpResponse Load(const GatewayContext& context);
// GET /metrics, Prometheus text format.
HttpResponse Metrics(const GatewayContext& context);

}  // namespace baton::gateway
