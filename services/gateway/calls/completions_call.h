// POST /v1/completions.
#pragma once

#include <memory>

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

std::unique_ptr<HttpCall> MakeCompletionsCall(const GatewayContext& context,
                                              HttpExchange& exchange);

}  // namespace baton::gateway
