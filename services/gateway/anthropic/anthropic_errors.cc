#include "services/gateway/anthropic/anthropic_errors.h"

#include <string>

#include "services/gateway/http/sse.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

const char* AnthropicType(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return http_status < 500 ? "invalid_request_error" : "api_error";
  }
}

std::string AnthropicJson(int http_status, absl::string_view message) {
  return DumpJson(
      {{"type", "error"},
       {"error", {{"type", AnthropicType(http_status)}, {"message", std::string(message)}}}});
}

std::string AnthropicJson(const absl::Status& status) {
  return AnthropicJson(HttpStatusOf(status), status.message());
}

HttpResponse AnthropicResponse(const absl::Status& status) {
  HttpResponse response = ErrorResponse(status);
  response.body = AnthropicJson(status);
  return response;
}

void AppendAnthropicEvent(const absl::Status& status, std::string* events) {
  AppendNamedSseEvent("error", AnthropicJson(status), events);
}

}  // namespace

const ErrorShape kAnthropicErrors = {AnthropicResponse, AppendAnthropicEvent};

HttpResponse AnthropicErrorResponse(int http_status, absl::string_view message,
                                    absl::string_view code) {
  HttpResponse response = ErrorResponse(http_status, message, code);
  response.body = AnthropicJson(http_status, message);
  return response;
}

}  // namespace baton::gateway
