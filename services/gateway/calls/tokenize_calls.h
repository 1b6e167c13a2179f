// Tokens and texts: POST /tokenize, POST /detokenize, GET /tokenizer_info.
#pragma once

#include <memory>

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

// {"count", "max_model_len", "tokens", "token_strs"} of a prompt, or of messages as a chat
// completion would encode them.
std::unique_ptr<HttpCall> MakeTokenizeCall(const GatewayContext& context, HttpExchange& exchange);
// {"prompt"} of token ids.
std::unique_ptr<HttpCall> MakeDetokenizeCall(const GatewayContext& context, HttpExchange& exchange);
// What is known of the tokenizer and of its template.
HttpResponse TokenizerInfo(const GatewayContext& context);

}  // namespace baton::gateway
