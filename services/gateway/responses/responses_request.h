// The body of POST /v1/responses in the words of /v1/chat/completions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/request_caps.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/chat_translation.h"

namespace baton::gateway {

struct ResponsesRequest {
  ChatTranslation translation;
  Json echoed;  // what the answer says again of the request, by name
};

// Nothing is stored: a request brings its whole conversation. What else a chat completion takes is
// taken here, too. What has no counterpart is refused; what nobody knows is named in the debug log.
// Errors: InvalidArgument naming the client's field.
absl::StatusOr<ResponsesRequest> ParseResponsesRequest(absl::string_view body,
                                                       const RequestCaps& caps = {});

}  // namespace baton::gateway
