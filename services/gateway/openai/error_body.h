// Errors in the shape that OpenAI's clients know.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/http/http_message.h"

namespace baton::gateway {

// {"error": {"message", "type", "param", "code"}}; param and code may be null.
std::string ErrorJson(absl::string_view message, absl::string_view type, absl::string_view param,
                      absl::string_view code);

// HTTP status that a status means to a client: 400, 401, 404, 429, 500, 503, 504 ...
int HttpStatusOf(const absl::Status& status);

// Body for a failed request, also the payload of an error event in a stream.
std::string ErrorJson(const absl::Status& status);

// A whole answer: Retry-After and x-should-retry: true where the same request may succeed later,
// x-should-retry: false where it will not.
HttpResponse ErrorResponse(const absl::Status& status);

extern const ErrorShape kOpenAiErrors;

// For failures that only HTTP knows (404 of a path, 405, 413 ...).
HttpResponse ErrorResponse(int http_status, absl::string_view message, absl::string_view code);

}  // namespace baton::gateway
