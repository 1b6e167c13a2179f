// POST /v1/messages and POST /v1/messages/count_tokens: Anthropic's API.
#pragma once

#include <memory>

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

std::unique_ptr<HttpCall> MakeMessagesCall(const GatewayContext& context, HttpExchange& exchange);
std::unique_ptr<HttpCall> MakeCountTokensCall(const GatewayContext& context,
                                              HttpExchange& exchange);

}  // namespace baton::gateway
