#include "services/gateway/http/request_reader.h"

#include <chrono>
#include <iterator>
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
    if (stage_ == Stage::kHeader && parser_->is_header_done() && !CheckHeader()) return stage_;
    if (parser_->is_done()) {
      if (CheckTrailer()) stage_ = Stage::kComplete;
      return stage_;
    }
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
  stage_ = Stage::kHeader;
  return true;
}

bool RequestReader::CheckHeader() {
  const auto& message = parser_->get();
  if (message.target().size() + message.method_string().size() > limits_.request_line_bytes) {
    return Refuse(414, "the request line is too long");
  }
  num_header_fields_ = num_fields();
  if (num_header_fields_ > limits_.header_fields) return Refuse(431, "too many header fields");
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
  awaits_continue_ = !expect.empty() && !parser_->is_done();
  if (awaits_continue_ && !absl::EqualsIgnoreCase(expect, "100-continue")) {
    return Refuse(417, "only the expectation 100-continue is known");
  }
  stage_ = Stage::kBody;
  parser_->eager(true);
  return true;
}

bool RequestReader::CheckTrailer() {
  if (num_fields() - num_header_fields_ <= limits_.header_fields) return true;
  return Refuse(431, "too many trailer fields");
}

void RequestReader::CheckUnread() {
  if (stage_ != Stage::kBody || buffer_.size() <= limits_.header_bytes) return;
  const auto unread = buffer_.data();
  const absl::string_view text(static_cast<const char*>(unread.data()), unread.size());
  // The end of the chunk before, then the line of this one, then, of the last one, the trailer.
  const bool in_trailer =
      absl::StrContains(text.substr(absl::StartsWith(text, "\r\n") ? 2 : 0), "\r\n");
  if (in_trailer) {
    Refuse(431, "the trailer is too large");
  } else {
    Refuse(400, "the line of a chunk is too long");
  }
}

bool RequestReader::Refuse(int status, absl::string_view message) {
  stage_ = Stage::kRefused;
  problem_ = {.status = status, .message = std::string(message)};
  return false;
}

void RequestReader::RefuseUnparsable(const error_code& error) {
  if (error == http::error::header_limit) {
    Refuse(431, "the request header is too large");
  } else if (error == http::error::body_limit) {
    Refuse(413, "the request body is too large");
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
  return known;
}

HttpRequest RequestReader::TakeRequest() {
  HttpRequest request = std::move(header_);
  request.body = std::move(parser_->get().body());
  request.received = absl::Now();
  request.received_tick = std::chrono::steady_clock::now();
  parser_.reset();
  stage_ = Stage::kIdle;
  return request;
}

}  // namespace baton::gateway
