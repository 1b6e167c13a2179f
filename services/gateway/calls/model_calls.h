// GET /v1/models and /v1/models/{name}: what is served.
#pragma once

#include "absl/strings/string_view.h"

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_message.h"

namespace baton::gateway {

HttpResponse ListModels(const GatewayContext& context);
// 404 if no model is served under the name.
HttpResponse DescribeModel(const GatewayContext& context, absl::string_view name);

}  // namespace baton::gateway
