#include "services/gateway/calls/probe_calls.h"

#include <string>

#include "common/config/release.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/error_body.h"

namespace baton::gateway {

HttpResponse Health(const GatewayContext& context) {
  HttpResponse response;
  response.content_type.clear();
  response.status = context.group.readiness().ok() ? 200 : 503;
  return response;
}

HttpResponse HealthLive() {
  HttpResponse response;
  response.body = DumpJson({{"status", "live"}});
  return response;
}

HttpResponse HealthReady(const GatewayContext& context) {
  absl::Status readiness = context.group.readiness();
  if (readiness.ok()) readiness = context.slots.CheckOpen();
  if (!readiness.ok()) return ErrorResponse(readiness);
  HttpResponse response;
  response.body = DumpJson({{"status", "ready"}, {"epoch", context.group.state().epoch()}});
  return response;
}

HttpResponse Version() {
  HttpResponse response;
  response.body = DumpJson({{"version", std::string(kRelease)}});
  return response;
}

HttpResponse Load(const GatewayContext& context) {
  HttpResponse response;
  response.body = DumpJson({{"server_load", context.slots.num_taken()}});
  return response;
}

HttpResponse Metrics(const GatewayContext& context) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = context.metrics.Render();
  return response;
}

}  // namespace baton::gateway
