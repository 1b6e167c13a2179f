#include "services/gateway/http/http_connection.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "boost/asio/error.hpp"
#include "boost/beast/http/error.hpp"

#include "common/log/check.h"
#include "services/gateway/http/parsed_request.h"
#include "services/gateway/http/request_target.h"
#include "services/gateway/http/response_head.h"

namespace baton::gateway {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kKeptCapacity = 16 << 10;  // buffers larger than this are given back when idle
constexpr size_t kMaxLoggedIdBytes = 128;
constexpr auto kLingerTime = std::chrono::seconds(2);

}  // namespace

HttpConnection::HttpConnection(HttpSocket socket, const HttpLimits& limits, HttpRouter& router,
                               std::function<void(HttpConnection*)> on_closed)
    : socket_(std::move(socket)),
      limits_(limits),
      router_(router),
      on_closed_(std::move(on_closed)),
      body_pace_(limits),
      timer_(socket_.get_executor()) {}

void HttpConnection::Start() {
  // A handshake is no time to be idle.
  const absl::Duration patience = socket_.is_tls() ? limits_.header_timeout : limits_.idle_timeout;
  read_deadline_ = Clock::now() + absl::ToChronoNanoseconds(patience);
  ArmTimer();
  WaitReadable();
}

// --- Reading ---

void HttpConnection::WaitReadable() {
  if (waiting_readable_ || state_ == State::kClosed) return;
  if (state_ == State::kAnswering && buffer_.size() >= limits_.pipelined_bytes) return;
  waiting_readable_ = true;
  socket_.WaitReadable(
      [self = shared_from_this()](const error_code& error) { self->OnReadable(error); });
}

void HttpConnection::OnReadable(const error_code& error) {
  waiting_readable_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Drop();
  error_code read_error;
  const auto space = buffer_.prepare(kReadBytes);
  const size_t num_bytes =
      socket_.ReadSome(static_cast<char*>(space.data()), space.size(), read_error);
  if (read_error == boost::asio::error::would_block) return WaitReadable();
  if (read_error) return Drop();
  buffer_.commit(num_bytes);
  if (state_ == State::kReading) return Advance();
  if (state_ == State::kLingering) buffer_.clear();
  WaitReadable();
}

void HttpConnection::Advance() {
  while (state_ == State::kReading) {
    if (!parser_ && !BeginRequest()) return WaitReadable();
    const auto unread = buffer_.data();
    if (!parser_->is_header_done() &&
        HasFoldedLine({static_cast<const char*>(unread.data()), unread.size()})) {
      return Refuse(400, "a header line that goes on with the one before it is not allowed");
    }
    error_code error;
    const size_t num_used = parser_->put(buffer_.data(), error);
    buffer_.consume(num_used);
    const bool needs_more = error == http::error::need_more;
    if (error && !needs_more) return RefuseUnparsable(error);
    if (parser_->is_header_done() && !header_checked_ && !CheckHeader()) return;
    if (parser_->is_done()) return StartCall();
    if (needs_more || num_used == 0 || buffer_.size() == 0) return WaitReadable();
  }
}

bool HttpConnection::BeginRequest() {
  // Empty lines before a request are allowed (RFC 9112, 2.2).
  const auto* bytes = static_cast<const char*>(buffer_.data().data());
  size_t num_blank = 0;
  while (num_blank < buffer_.size() && (bytes[num_blank] == '\r' || bytes[num_blank] == '\n')) {
    ++num_blank;
  }
  buffer_.consume(num_blank);
  if (buffer_.size() == 0) return false;
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<uint32_t>(limits_.header_bytes));
  parser_->body_limit(limits_.body_bytes);
  header_checked_ = false;
  read_deadline_ = Clock::now() + absl::ToChronoNanoseconds(limits_.header_timeout);
  ArmTimer();
  return true;
}

bool HttpConnection::CheckHeader() {
  header_checked_ = true;
  const auto& message = parser_->get();
  const auto refuse = [this](int status, absl::string_view why) {
    Refuse(status, why);
    return false;
  };
  if (message.target().size() + message.method_string().size() > limits_.request_line_bytes) {
    return refuse(414, "the request line is too long");
  }
  const auto num_fields = static_cast<size_t>(std::distance(message.begin(), message.end()));
  if (num_fields > limits_.header_fields) return refuse(431, "too many header fields");
  http_1_0_ = message.version() < 11;
  if (!http_1_0_ && message.count(http::field::host) != 1) {
    return refuse(400, "exactly one Host header is required");
  }
  if (const absl::string_view why = FramingProblem(message, http_1_0_); !why.empty()) {
    return refuse(400, why);
  }
  read_deadline_ = body_pace_.Begin(Clock::now());
  ArmTimer();
  const absl::string_view expect = View(message[http::field::expect]);
  if (expect.empty() || parser_->is_done()) return true;
  if (!absl::EqualsIgnoreCase(expect, "100-continue")) {
    return refuse(417, "only the expectation 100-continue is known");
  }
  out_.append("HTTP/1.1 100 Continue\r\n\r\n");
  Flush();
  return true;
}

void HttpConnection::RefuseUnparsable(const error_code& error) {
  if (error == http::error::header_limit) return Refuse(431, "the request header is too large");
  if (error == http::error::body_limit) return Refuse(413, "the request body is too large");
  Refuse(400, "malformed HTTP request: " + error.message());
}

void HttpConnection::StartCall() {
  auto message = parser_->release();
  parser_.reset();
  head_only_ = message.method() == http::verb::head;
  keep_alive_ = message.keep_alive();
  request_ = ToHttpRequest(std::move(message));
  state_ = State::kAnswering;
  answer_ended_ = false;
  close_after_ = false;
  read_deadline_ = Clock::time_point::max();
  call_ = router_.Route(*this);
  call_->Start();
  WaitReadable();
}

HttpHeaders HttpConnection::CompleteHeaders(HttpHeaders headers, int status) {
  router_.AddHeaders(request_, &headers);
  record_ = ExchangeRecord();
  record_.status = status;
  if (!router_.wants_records()) return headers;
  for (const auto& [name, value] : headers) {
    if (name == "X-Request-Id") record_.request_id = value.substr(0, kMaxLoggedIdBytes);
  }
  return headers;
}

void HttpConnection::RecordExchange(bool complete) {
  if (!router_.wants_records()) return;
  record_.peer = socket_.peer();
  if (request_.received_tick != Clock::time_point()) {
    record_.duration = absl::FromChrono(Clock::now() - request_.received_tick);
  }
  record_.complete = complete;
  router_.OnExchangeEnd(request_, record_);
  record_ = ExchangeRecord();
}

void HttpConnection::FinishExchange() {
  const bool broken = std::exchange(broken_, false);
  RecordExchange(!broken);
  call_.reset();
  answer_ended_ = false;
  if (close_after_) {
    if (!broken) socket_.SayEnd();
    return unread_input_ || buffer_.size() > 0 ? Linger() : Close();
  }
  state_ = State::kReading;
  was_full_ = false;
  request_ = HttpRequest();
  if (out_.capacity() > kKeptCapacity) std::string().swap(out_);
  if (in_flight_.capacity() > kKeptCapacity) std::string().swap(in_flight_);
  if (buffer_.size() == 0) buffer_.shrink_to_fit();
  read_deadline_ = Clock::now() + absl::ToChronoNanoseconds(limits_.idle_timeout);
  ArmTimer();
  Advance();
}

// --- Answering ---

void HttpConnection::Refuse(int status, absl::string_view message) {
  state_ = State::kAnswering;
  read_deadline_ = Clock::time_point::max();
  unread_input_ = true;
  keep_alive_ = false;
  head_only_ = false;
  if (parser_) {  // what it has read so far; of a line that is too long nothing is repeated
    const auto& header = parser_->get();
    request_.sent_request_id = std::string(View(header["X-Request-Id"]));
    if (header.target().size() + header.method_string().size() <= limits_.request_line_bytes) {
      request_.method = std::string(View(header.method_string()));
      request_.path = ParseRequestTarget(View(header.target())).path;
    }
  }
  HttpResponse response = router_.Refuse(request_, status, message);
  response.close = true;
  Send(std::move(response));
}

void HttpConnection::Send(HttpResponse response) {
  BATON_CHECK(!answer_ended_) << "two answers to " << request_.method << " " << request_.path;
  const bool keep = keep_alive_ && !response.close;
  out_ += FormatResponseHead({.status = response.status,
                              .content_type = response.content_type,
                              .content_length = response.body.size(),
                              .keep_alive = keep},
                             CompleteHeaders(std::move(response.headers), response.status));
  if (!head_only_) {
    out_ += response.body;
    record_.body_bytes = response.body.size();
  }
  EndAnswer(!keep);
}

void HttpConnection::StartStream(int status, absl::string_view content_type,
                                 const HttpHeaders& headers) {
  if (http_1_0_) keep_alive_ = false;
  out_ += FormatResponseHead({.status = status,
                              .content_type = content_type,
                              .chunked = !http_1_0_,
                              .keep_alive = keep_alive_},
                             CompleteHeaders(headers, status));
}

void HttpConnection::Write(absl::string_view bytes) {
  record_.body_bytes += bytes.size();
  if (http_1_0_) {
    out_.append(bytes.data(), bytes.size());
  } else {
    AppendChunk(bytes, &out_);
  }
  if (unsent_bytes() >= limits_.unsent_bytes) was_full_ = true;
  Flush();
}

void HttpConnection::EndStream() {
  if (!http_1_0_) out_.append(kLastChunk.data(), kLastChunk.size());
  EndAnswer(!keep_alive_);
}

void HttpConnection::BreakStream() {
  broken_ = true;
  EndAnswer(/*close=*/true);
}

void HttpConnection::EndAnswer(bool close) {
  answer_ended_ = true;
  close_after_ = close;
  Flush();
  // Nothing left to write: the exchange still ends outside of the call's own frame.
  if (!writing_)
    boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->state_ == State::kAnswering && !self->writing_) self->FinishExchange();
    });
}

void HttpConnection::Abort(const absl::Status& reason) {
  if (call_ != nullptr && !answer_ended_) call_->Abort(reason);
}

// --- Writing ---

void HttpConnection::Flush() {
  if (writing_ || out_.empty() || state_ == State::kClosed) return;
  in_flight_.swap(out_);
  out_.clear();
  sent_ = 0;
  WriteSome();
}

void HttpConnection::WriteSome() {
  writing_ = true;
  write_deadline_ = Clock::now() + absl::ToChronoNanoseconds(limits_.write_timeout);
  ArmTimer();
  socket_.WriteSome(absl::string_view(in_flight_).substr(sent_),
                    [self = shared_from_this()](const error_code& error, size_t num_bytes) {
                      self->OnWritten(error, num_bytes);
                    });
}

void HttpConnection::OnWritten(const error_code& error, size_t num_bytes) {
  if (state_ == State::kClosed) return;
  if (error) return Drop();
  sent_ += num_bytes;
  if (sent_ < in_flight_.size()) return WriteSome();
  writing_ = false;
  write_deadline_ = Clock::time_point::max();
  in_flight_.clear();
  sent_ = 0;
  Flush();
  if (was_full_ && unsent_bytes() < limits_.unsent_bytes / 4 && call_ != nullptr &&
      !answer_ended_) {
    was_full_ = false;
    call_->OnWritable();
  }
  if (answer_ended_ && !writing_ && out_.empty()) FinishExchange();
  TellSent();
}

void HttpConnection::WhenSent(std::function<void()> done) {
  when_sent_ = std::move(done);
  TellSent();
}

void HttpConnection::TellSent() {
  if (when_sent_ == nullptr || (state_ != State::kClosed && unsent_bytes() > 0)) return;
  std::exchange(when_sent_, nullptr)();
}

// --- Ending ---

void HttpConnection::Linger() {
  // Closing with unread input would reset the connection and could take the answer with it.
  state_ = State::kLingering;
  socket_.ShutdownSend();
  buffer_.clear();
  read_deadline_ = Clock::now() + kLingerTime;
  ArmTimer();
  WaitReadable();
}

void HttpConnection::Drop(Departure how) {
  if (state_ == State::kClosed) return;
  const auto self = shared_from_this();
  std::unique_ptr<HttpCall> call = std::move(call_);
  const bool answer_ended = answer_ended_;
  if (call != nullptr) RecordExchange(/*complete=*/false);
  Close();
  if (call != nullptr && !answer_ended) call->OnDisconnect(how);
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  const auto self = shared_from_this();
  state_ = State::kClosed;
  socket_.Close();
  timer_.cancel();
  on_closed_(this);
  TellSent();
}

void HttpConnection::ArmTimer() {
  const Clock::time_point earliest = std::min(read_deadline_, write_deadline_);
  if (earliest >= timer_at_) return;  // OnTimer looks again
  timer_at_ = earliest;
  timer_.expires_at(earliest);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) self->OnTimer();
  });
}

void HttpConnection::OnTimer() {
  if (state_ == State::kClosed) return;
  timer_at_ = Clock::time_point::max();
  const Clock::time_point now = Clock::now();
  if (now >= write_deadline_) return Drop(Departure::kStalled);
  if (now >= read_deadline_) {
    if (state_ != State::kReading || !parser_) {
      if (state_ == State::kReading) socket_.SayEnd();  // it was idle
      return Close();
    }
    const auto more =
        header_checked_ ? body_pace_.Continue(now, parser_->get().body().size()) : std::nullopt;
    if (!more) return Refuse(408, "the request was not complete in time");
    read_deadline_ = *more;
  }
  ArmTimer();
}

}  // namespace baton::gateway
