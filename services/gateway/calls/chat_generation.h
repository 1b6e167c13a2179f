// What all calls over a conversation have in common: from the parsed request to its sequences.
#pragma once

#include "absl/status/statusor.h"

#include "services/gateway/calls/http_generation_call.h"
#include "services/gateway/openai/chat_request.h"

namespace baton::gateway {

struct AdmittedChat {
  AdmittedParams params;
  EncodedPrompt prompt;
};

// Checks the request, encodes it and appends its sequences to `prepared`; the format is the
// caller's. Any thread. Errors: InvalidArgument naming the field, NotFound (model).
absl::StatusOr<AdmittedChat> AppendChat(const GatewayContext& context, const ChatRequest& request,
                                        const RequestScope& scope, PreparedGeneration* prepared);

}  // namespace baton::gateway
