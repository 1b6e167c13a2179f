#include "services/gateway/openai/error_body.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/http/sse.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kDefaultRetry = absl::Seconds(1);
// Official clients ignore a longer Retry-After or give up.
constexpr int64_t kMaxRetrySeconds = 60;

absl::string_view TypeOf(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return http_status < 500 ? "invalid_request_error" : "server_error";
  }
}

std::string CodeOf(const absl::Status& status) {
  if (std::string reason = RefusalReason(status); !reason.empty()) return reason;
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return "not_found";
    case absl::StatusCode::kUnauthenticated:
      return "invalid_api_key";
    case absl::StatusCode::kResourceExhausted:
      return std::string(kServerIsOverloaded);
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
      return "service_unavailable";
    case absl::StatusCode::kDeadlineExceeded:
      return "deadline_exceeded";
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return "invalid_value";
    default:
      return "internal_error";
  }
}

// Some clients read whole seconds only, rounded up; others milliseconds.
void AppendRetry(absl::Duration delay, HttpResponse* response) {
  const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(delay, absl::Seconds(1)));
  response->headers.emplace_back("Retry-After",
                                 absl::StrCat(std::clamp<int64_t>(seconds, 1, kMaxRetrySeconds)));
  response->headers.emplace_back(
      "retry-after-ms", absl::StrCat(std::clamp<int64_t>(absl::ToInt64Milliseconds(delay), 1,
                                                         kMaxRetrySeconds * 1000)));
  response->headers.emplace_back("x-should-retry", "true");
}

}  // namespace

std::string ErrorJson(absl::string_view message, absl::string_view type, absl::string_view param,
                      absl::string_view code) {
  const auto or_null = [](absl::string_view text) {
    return text.empty() ? Json(nullptr) : Json(std::string(text));
  };
  return DumpJson({{"error",
                    {{"message", std::string(message)},
                     {"type", std::string(type)},
                     {"param", or_null(param)},
                     {"code", or_null(code)}}}});
}

int HttpStatusOf(const absl::Status& status) {
  const std::string reason = RefusalReason(status);
  if (reason == kRateLimitExceeded) return 429;
  if (reason == kRequestAborted) return 499;  // which clients do not send again
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kAborted:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string ErrorJson(const absl::Status& status) {
  return ErrorJson(status.message(), TypeOf(HttpStatusOf(status)), RefusedField(status),
                   CodeOf(status));
}

HttpResponse ErrorResponse(const absl::Status& status) {
  HttpResponse response;
  response.status = HttpStatusOf(status);
  response.body = ErrorJson(status);
  if (response.status == 503 || response.status == 429) {
    const std::optional<absl::Duration> delay = RetryAfter(status);
    AppendRetry(delay ? *delay : SpreadRetry(kDefaultRetry), &response);
  } else if (response.status == 500) {
    response.headers.emplace_back("x-should-retry", "false");
  } else if (response.status == 401) {
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
  }
  return response;
}

const ErrorShape kOpenAiErrors = {[](const absl::Status& status) { return ErrorResponse(status); },
                                  [](const absl::Status& status, std::string* events) {
                                    AppendSseEvent(ErrorJson(status), events);
                                  }};

HttpResponse ErrorResponse(int http_status, absl::string_view message, absl::string_view code) {
  HttpResponse response;
  response.status = http_status;
  response.body = ErrorJson(message, TypeOf(http_status), "", code);
  if (http_status == 503) {
    AppendRetry(SpreadRetry(kDefaultRetry), &response);
  }
  return response;
}

}  // namespace baton::gateway
