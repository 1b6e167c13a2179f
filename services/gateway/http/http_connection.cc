#include "services/gateway/http/http_connection.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "boost/asio/error.hpp"

#include "common/log/check.h"
#include "services/gateway/http/response_head.h"

namespace baton::gateway {
namespace {

using boost::system::error_code;

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kKeptCapacity = 16 << 10;  // buffers larger than this are given back when idle
constexpr size_t kMaxLoggedIdBytes = 128;

}  // namespace

HttpConnection::HttpConnection(HttpSocket socket, const Shared& shared,
                               std::function<void(HttpConnection*)> on_closed)
    : socket_(std::move(socket)),
      limits_(shared.limits),
      router_(shared.router),
      on_closed_(std::move(on_closed)),
      reader_(shared.limits, shared.bodies),
      body_pace_(shared.limits),
      write_pace_(shared.limits),
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
  if (state_ == State::kAnswering && reader_.num_unread() >= limits_.pipelined_bytes) return;
  waiting_readable_ = true;
  socket_.WaitReadable(
      [self = shared_from_this()](const error_code& error) { self->OnReadable(error); });
}

void HttpConnection::OnReadable(const error_code& error) {
  waiting_readable_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Drop();
  error_code read_error;
  const auto space = reader_.Prepare(kReadBytes);
  const size_t num_bytes =
      socket_.ReadSome(static_cast<char*>(space.data()), space.size(), read_error);
  if (read_error == boost::asio::error::would_block) return WaitReadable();
  if (read_error) return Drop();
  reader_.Commit(num_bytes);
  if (state_ == State::kReading) return Advance();
  if (state_ == State::kLingering) {
    reader_.DropUnread();
    LingerOn();
  }
  WaitReadable();
}

void HttpConnection::Advance() {
  using Stage = RequestReader::Stage;
  const Stage before = reader_.stage();
  const Stage stage = reader_.Advance();
  if (stage != before && stage == Stage::kBody) return BeginBody();
  if (stage == Stage::kRefused) return Refuse(reader_.problem().status, reader_.problem().message);
  if (stage == Stage::kComplete) return StartCall();
  if (stage != before && stage == Stage::kHeader) {
    read_deadline_ = Clock::now() + absl::ToChronoNanoseconds(limits_.header_timeout);
    ArmTimer();
  }
  WaitReadable();
}

void HttpConnection::BeginBody() {
  using Stage = RequestReader::Stage;
  std::optional<HttpResponse> refusal = router_.Screen(reader_.header());
  if (refusal || !router_.ReadsBody(reader_.header())) {
    reader_.DropBody();
  } else {
    reader_.HoldBodyFor(router_.CallerOf(reader_.header()));
  }
  const Stage stage = reader_.num_unread() > 0 ? reader_.Advance() : Stage::kBody;
  if (refusal && stage == Stage::kComplete) {
    TakeRequest();
    Send(std::move(*refusal));
  } else if (refusal) {
    request_ = reader_.Known();
    AnswerUnread(std::move(*refusal));
  } else if (stage == Stage::kRefused) {
    return Refuse(reader_.problem().status, reader_.problem().message);
  } else if (stage == Stage::kComplete) {
    return StartCall();
  } else {
    AwaitBody();
  }
  WaitReadable();
}

void HttpConnection::AwaitBody() {
  read_deadline_ = body_pace_.Begin(Clock::now());
  ArmTimer();
  if (!reader_.awaits_continue()) return;
  out_.append("HTTP/1.1 100 Continue\r\n\r\n");
  Flush();
}

void HttpConnection::TakeRequest() {
  keep_alive_ = reader_.keep_alive();
  http_1_0_ = reader_.http_1_0();
  request_ = reader_.TakeRequest();
  head_only_ = request_.method == "HEAD";
  state_ = State::kAnswering;
  answer_ended_ = false;
  close_after_ = false;
  read_deadline_ = Clock::time_point::max();
}

void HttpConnection::StartCall() {
  TakeRequest();
  call_ = router_.Route(*this);
  call_->Start();
  std::string().swap(request_.body);
  request_.body_hold.reset();
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
    return unread_input_ || reader_.num_unread() > 0 ? Linger() : Close();
  }
  state_ = State::kReading;
  was_full_ = false;
  request_ = HttpRequest();
  if (out_.capacity() > kKeptCapacity) std::string().swap(out_);
  if (in_flight_.capacity() > kKeptCapacity) std::string().swap(in_flight_);
  reader_.Shrink();
  read_deadline_ = Clock::now() + absl::ToChronoNanoseconds(limits_.idle_timeout);
  ArmTimer();
  Advance();
}

// --- Answering ---

void HttpConnection::Refuse(int status, absl::string_view message) {
  if (reader_.stage() != RequestReader::Stage::kIdle) request_ = reader_.Known();
  AnswerUnread(router_.Refuse(request_, status, message));
}

void HttpConnection::RefuseLate(Clock::time_point now) {
  std::string why;
  if (reader_.stage() == RequestReader::Stage::kHeader) {
    why = absl::StrCat("the header did not come within ",
                       absl::FormatDuration(limits_.header_timeout), " (--header-timeout)");
  } else if (body_pace_.IsOver(now)) {
    why = absl::StrCat("the body did not come within ", absl::FormatDuration(limits_.body_timeout),
                       " (--body-timeout)");
  } else {
    why = absl::StrCat("the body came too slowly: at least ", limits_.body_bytes_per_second,
                       " bytes a second (--min-body-rate)");
  }
  Refuse(408, why);
}

void HttpConnection::AnswerUnread(HttpResponse response) {
  state_ = State::kAnswering;
  read_deadline_ = Clock::time_point::max();
  unread_input_ = true;
  reader_.DropBody();
  keep_alive_ = false;
  head_only_ = request_.method == "HEAD";
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
  write_deadline_ = write_pace_.Begin(Clock::now(), socket_.num_acknowledged());
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
  reader_.DropUnread();
  linger_end_ = Clock::now() + absl::ToChronoNanoseconds(limits_.body_timeout);
  LingerOn();
  WaitReadable();
}

void HttpConnection::LingerOn() {
  read_deadline_ =
      std::min(Clock::now() + absl::ToChronoNanoseconds(limits_.linger_timeout), linger_end_);
  ArmTimer();
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
  if (now >= write_deadline_) {
    const auto more = write_pace_.Continue(now, socket_.num_acknowledged());
    if (!more) return Drop(Departure::kStalled);
    write_deadline_ = *more;
  }
  if (now >= read_deadline_) {
    const RequestReader::Stage stage = reader_.stage();
    if (state_ != State::kReading || stage == RequestReader::Stage::kIdle) {
      if (state_ == State::kReading) socket_.SayEnd();  // it was idle
      return Close();
    }
    const auto more = stage == RequestReader::Stage::kBody
                          ? body_pace_.Continue(now, reader_.num_body_bytes())
                          : std::nullopt;
    if (!more) return RefuseLate(now);
    read_deadline_ = *more;
  }
  ArmTimer();
}

}  // namespace baton::gateway
