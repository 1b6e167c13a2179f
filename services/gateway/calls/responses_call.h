// POST /v1/responses.
#pragma once

#include <memory>

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

std::unique_ptr<HttpCall> MakeResponsesCall(const GatewayContext& context, HttpExchange& exchange);

}  // namespace baton::gateway
