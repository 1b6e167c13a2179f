// The body of POST /v1/responses in the words of /v1/chat/completions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

struct ResponsesRequest {
  Json chat;    // the chat completion that asks for the same
  Json echoed;  // what the answer says again of the request, by name
};

// Nothing is stored: a request brings its whole conversation. What has no counterpart is refused.
// Errors: InvalidArgument naming the field.
absl::StatusOr<ResponsesRequest> ParseResponsesRequest(absl::string_view body);

}  // namespace baton::gateway
