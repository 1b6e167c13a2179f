// POST /v1/chat/completions, and several conversations at once: POST /v1/chat/completions/batch.
#pragma once

#include <memory>

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

std::unique_ptr<HttpCall> MakeChatCompletionsCall(const GatewayContext& context,
                                                  HttpExchange& exchange);

// `messages` is a list of conversations; choice i answers the i-th. Not streamed, no tools, n=1.
std::unique_ptr<HttpCall> MakeChatBatchCall(const GatewayContext& context, HttpExchange& exchange);

}  // namespace baton::gateway
