// Errors in the shape that Anthropic's clients know.
#pragma once

#include "services/gateway/openai/error_body.h"

namespace baton::gateway {

// {"type": "error", "error": {"type", "message"}}; in a stream, an event named "error". Codes and
// headers are those of the OpenAI API.
extern const ErrorShape kAnthropicErrors;

// For failures that only HTTP knows, as ErrorResponse of the same arguments.
HttpResponse AnthropicErrorResponse(int http_status, absl::string_view message,
                                    absl::string_view code);

}  // namespace baton::gateway
