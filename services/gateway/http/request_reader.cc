#include "services/gateway/http/request_reader.h"

#include <chrono>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "boost/beast/http/error.hpp"

#include "services/gateway/http/parsed_request.h"
#include "services/gateway/http/request_target.h"

namespace baton::gateway {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr absl::string_view kHeaderFlag = "bytes (--max-header-bytes)";
constexpr absl::string_view kFieldsFlag = "fields (--max-header-fields)";

}  // namespace

void RequestReader::Shrink() {
  if (buffer_.size() == 0) buffer_.shrink_to_fit();
}

RequestReader::Stage RequestReader::Advance() {
  if (!parser_ && !Begin()) return stage_;
  while (true) {
    const auto unread = buffer_.data();
    if (stage_ == Stage::kHeader &&
        HasFoldedLine({static_cast<const char*>(unread.data()), unread.size()})) {
      Refuse(400, "a header line that goes on with the one before it is not allowed");
      return stage_;
    }
    error_code error;
    const size_t num_used = parser_->put(unread, error);
    buffer_.consume(num_used);
    const bool needs_more = error == http::error::need_more;
    if (error && !needs_more) {
      RefuseUnparsable(error);
      return stage_;
    }
    const bool ends_header = stage_ == Stage::kHeader && parser_->is_header_done();
    if (ends_header && !CheckHeader()) return stage_;
    if (parser_->is_done()) {
      if (CheckTrailer()) stage_ = Stage::kComplete;
      return stage_;
    }
    if (ends_header) return stage_;
    if (needs_more || num_used == 0 || buffer_.size() == 0) break;
  }
  CheckUnread();
  return stage_;
}

bool RequestReader::Begin() {
  // Empty lines before a request are allowed (RFC 9112, 2.2).
  const auto* bytes = static_cast<const char*>(buffer_.data().data());
  size_t num_blank = 0;
  while (num_blank < buffer_.size() && (bytes[num_blank] == '\r' || bytes[num_blank] == '\n')) {
    ++num_blank;
  }
  buffer_.consume(num_blank);
  if (buffer_.size() == 0) return false;
  header_ = HttpRequest();
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(limits_.header_bytes));
  parser_->body_limit(limits_.body_bytes);
  parser_->get().body().hold = BodyHold(bodies_);
  stage_ = Stage::kHeader;
  return true;
}

bool RequestReader::CheckHeader() {
  const auto& message = parser_->get();
  if (message.target().size() + message.method_string().size() > limits_.request_line_bytes) {
    return RefuseOverLimit(414, "the request line is too long", limits_.request_line_bytes,
                           "bytes (--max-request-line-bytes)");
  }
  num_header_fields_ = num_fields();
  if (num_header_fields_ > limits_.header_fields) {
    return RefuseOverLimit(431, "too many header fields", limits_.header_fields, kFieldsFlag);
  }
  http_1_0_ = message.version() < 11;
  if (!http_1_0_ && message.count(http::field::host) != 1) {
    return Refuse(400, "exactly one Host header is required");
  }
  if (const absl::string_view why = FramingProblem(message, http_1_0_); !why.empty()) {
    return Refuse(400, why);
  }
  keep_alive_ = message.keep_alive();
  header_ = DescribeHeader(message);
  const absl::string_view expect = View(message[http::field::expect]);
  // Of HTTP/1.0 it means nothing (RFC 9110, 10.1.1).
  awaits_continue_ = !http_1_0_ && !expect.empty() && !parser_->is_done();
  if (awaits_continue_ && !absl::EqualsIgnoreCase(expect, "100-continue")) {
    return Refuse(417, "only the expectation 100-continue is known");
  }
  stage_ = Stage::kBody;
  parser_->eager(true);
  return true;
}

bool RequestReader::CheckTrailer() {
  if (num_fields() - num_header_fields_ <= limits_.header_fields) return true;
  return RefuseOverLimit(431, "too many trailer fields", limits_.header_fields, kFieldsFlag);
}

void RequestReader::CheckUnread() {
  if (stage_ != Stage::kBody || buffer_.size() <= limits_.header_bytes) return;
  const auto unread = buffer_.data();
  const absl::string_view text(static_cast<const char*>(unread.data()), unread.size());
  // The end of the chunk before, then the line of this one, then, of the last one, the trailer.
  const bool in_trailer =
      absl::StrContains(text.substr(absl::StartsWith(text, "\r\n") ? 2 : 0), "\r\n");
  if (in_trailer) {
    RefuseOverLimit(431, "the trailer is too large", limits_.header_bytes, kHeaderFlag);
  } else {
    RefuseOverLimit(400, "the line of a chunk is too long", limits_.header_bytes, kHeaderFlag);
  }
}

bool RequestReader::Refuse(int status, absl::string_view message) {
  stage_ = Stage::kRefused;
  problem_ = {.status = status, .message = std::string(message)};
  return false;
}

bool RequestReader::RefuseOverLimit(int status, absl::string_view what, size_t most,
                                    absl::string_view unit) {
  return Refuse(status, absl::StrCat(what, ": at most ", most, " ", unit));
}

void RequestReader::RefuseUnparsable(const error_code& error) {
  if (error == http::error::header_limit) {
    RefuseOverLimit(431, "the request header is too large", limits_.header_bytes, kHeaderFlag);
  } else if (error == http::error::body_limit) {
    RefuseOverLimit(413, "the request body is too large", limits_.body_bytes,
                    "bytes (--max-body-mib)");
  } else if (error == ReceivedBody::NoRoom()) {
    RefuseOverLimit(503, "the bodies of all requests together, or of this API key, are too large",
                    limits_.total_body_bytes,
                    "bytes (--max-total-body-mib), of which an eighth is kept for other API keys");
  } else {
    Refuse(400, absl::StrCat("malformed HTTP request: ", error.message()));
  }
}

size_t RequestReader::num_fields() const {
  const auto& message = parser_->get();
  return static_cast<size_t>(std::distance(message.begin(), message.end()));
}

HttpRequest RequestReader::Known() const {
  HttpRequest known;
  if (!parser_) return known;
  if (!header_.method.empty()) return header_;
  const auto& header = parser_->get();
  known.origin = std::string(View(header[http::field::origin]));
  known.sent_request_id = std::string(View(header["X-Request-Id"]));
  if (header.target().size() + header.method_string().size() <= limits_.request_line_bytes) {
    known.method = std::string(View(header.method_string()));
    known.path = ParseRequestTarget(View(header.target())).path;
  }
  // A line that the parser has not taken is still there.
  const auto unread = buffer_.data();
  const absl::string_view line(static_cast<const char*>(unread.data()), unread.size());
  const bool is_head = header.method() == http::verb::head ||
                       (header.method_string().empty() && absl::StartsWith(line, "HEAD "));
  if (is_head) known.method = "HEAD";
  return known;
}

HttpRequest RequestReader::TakeRequest() {
  HttpRequest request = std::move(header_);
  ReceivedBody::value_type& body = parser_->get().body();
  request.body = std::move(body.text);
  if (!request.body.empty()) {
    request.body_hold = std::make_shared<const BodyHold>(std::move(body.hold));
  }
  request.received = absl::Now();
  request.received_tick = std::chrono::steady_clock::now();
  parser_.reset();
  stage_ = Stage::kIdle;
  return request;
}

}  // namespace baton::gateway
