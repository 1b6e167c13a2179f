#include "services/gateway/http/parsed_request.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"

#include "services/gateway/http/request_target.h"

namespace baton::gateway {
namespace {

namespace http = boost::beast::http;

}  // namespace

absl::string_view FramingProblem(const http::fields& fields, bool http_1_0) {
  const size_t count = fields.count(http::field::transfer_encoding);
  if (count == 0) return "";
  if (http_1_0) return "Transfer-Encoding is not allowed in HTTP/1.0";
  const absl::string_view coding = View(fields[http::field::transfer_encoding]);
  if (count > 1 || !absl::EqualsIgnoreCase(coding, "chunked")) {
    return "the only Transfer-Encoding that is known is chunked";
  }
  if (fields.count(http::field::content_length) != 0) {
    return "Transfer-Encoding and Content-Length exclude each other";
  }
  return "";
}

bool HasFoldedLine(absl::string_view unread) {
  if (absl::StartsWith(unread, "\r\n")) return false;
  unread = unread.substr(0, unread.find("\r\n\r\n"));
  return absl::StrContains(unread, "\r\n ") || absl::StrContains(unread, "\r\n\t");
}

HttpRequest DescribeHeader(const ParsedRequest& message) {
  const auto field = [&message](auto name) { return std::string(View(message[name])); };
  RequestTarget target = ParseRequestTarget(View(message.target()));
  return {.method = std::string(View(message.method_string())),
          .path = std::move(target.path),
          .query = std::move(target.query),
          .content_type = field(http::field::content_type),
          .authorization = field(http::field::authorization),
          .api_key = field("x-api-key"),
          .request_id = CleanRequestId(View(message["X-Request-Id"])),
          .sent_request_id = field("X-Request-Id"),
          .timeout = field("X-Request-Timeout"),
          .priority = field("X-Vllm-Priority"),
          .origin = field(http::field::origin),
          .preflight_method = field(http::field::access_control_request_method),
          .preflight_headers = field(http::field::access_control_request_headers),
          .traceparent = field("traceparent"),
          .tracestate = field("tracestate")};
}

}  // namespace baton::gateway
