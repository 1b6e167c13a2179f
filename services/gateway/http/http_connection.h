// One HTTP/1.1 connection: reads requests, hands each to its call, writes the answer.
//
//   reading -> answering -> reading ...      a request is complete -> its answer is complete
//   reading, answering -> lingering          last answer sent; reads and drops until the client
//   ends any -> closed
//
// While a call answers, the socket is still read: the end of the stream is a disconnect, further
// bytes are a pipelined request that waits. At most one call runs at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "boost/asio/steady_timer.hpp"

#include "services/gateway/http/body_budget.h"
#include "services/gateway/http/body_pace.h"
#include "services/gateway/http/http_exchange.h"
#include "services/gateway/http/http_limits.h"
#include "services/gateway/http/http_socket.h"
#include "services/gateway/http/request_reader.h"
#include "services/gateway/http/write_pace.h"

namespace baton::gateway {

// All on the loop's thread; lives until closed and until its pending operations have returned.
class HttpConnection final : public HttpExchange,
                             public std::enable_shared_from_this<HttpConnection> {
 public:
  // What the connections of a server share; references must outlive them.
  struct Shared {
    const HttpLimits& limits;
    HttpRouter& router;
    std::shared_ptr<BodyBudget> bodies;
  };

  // `on_closed` is called once.
  HttpConnection(HttpSocket socket, const Shared& shared,
                 std::function<void(HttpConnection*)> on_closed);

  void Start();
  // Answers `status` without reading a request, and ends the connection.
  void Refuse(int status, absl::string_view message);
  // Tells the running call, if any, to end with an error.
  void Abort(const absl::Status& reason);
  // Ends the connection now; a running call is told.
  void Drop(Departure how = Departure::kClosed);
  // Calls `done` once: when the kernel has every byte of the answers so far, or the connection is
  // closed; now, if that is so already. A later call replaces it.
  void WhenSent(std::function<void()> done);

  const HttpRequest& request() const override { return request_; }
  void Send(HttpResponse response) override;
  void StartStream(int status, absl::string_view content_type, const HttpHeaders& headers) override;
  void Write(absl::string_view bytes) override;
  void EndStream() override;
  void BreakStream() override;
  size_t unsent_bytes() const override { return out_.size() + in_flight_.size() - sent_; }
  size_t max_unsent_bytes() const override { return limits_.unsent_bytes; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kReading, kAnswering, kLingering, kClosed };

  void WaitReadable();
  void OnReadable(const boost::system::error_code& error);
  void Advance();
  // The header is complete, nothing of its body is read yet.
  void BeginBody();
  // The rest of the body comes later: its time begins, and who expects 100 is told.
  void AwaitBody();
  // A request is complete, and to be answered.
  void TakeRequest();
  void StartCall();
  // The request does not come in time: 408 that names the limit.
  void RefuseLate(Clock::time_point now);
  // Sends the last answer, to a request that is not read on.
  void AnswerUnread(HttpResponse response);
  void FinishExchange();
  // The headers of an answer, with those that all answers carry.
  HttpHeaders CompleteHeaders(HttpHeaders headers, int status);
  void RecordExchange(bool complete);

  void Flush();
  void WriteSome();
  void OnWritten(const boost::system::error_code& error, size_t num_bytes);
  void EndAnswer(bool close);
  void TellSent();

  void Linger();
  void Close();
  // More of what a refused client sends may come.
  void LingerOn();
  void ArmTimer();
  void OnTimer();

  HttpSocket socket_;
  const HttpLimits& limits_;
  HttpRouter& router_;
  std::function<void(HttpConnection*)> on_closed_;

  State state_ = State::kReading;
  bool waiting_readable_ = false;
  RequestReader reader_;
  BodyPace body_pace_;
  WritePace write_pace_;
  HttpRequest request_;
  bool head_only_ = false;     // HEAD: headers without a body
  bool keep_alive_ = true;     // of the current request
  bool http_1_0_ = false;      // no chunked encoding
  bool unread_input_ = false;  // the request was refused before its end

  std::unique_ptr<HttpCall> call_;
  bool answer_ended_ = false;
  bool broken_ = false;  // the answer ended before its end
  ExchangeRecord record_;
  bool close_after_ = false;
  bool was_full_ = false;
  std::string out_;        // not yet given to the kernel
  std::string in_flight_;  // being written
  size_t sent_ = 0;        // bytes of in_flight_ that the kernel has
  bool writing_ = false;
  std::function<void()> when_sent_;  // null: nobody waits

  boost::asio::steady_timer timer_;
  Clock::time_point timer_at_ = Clock::time_point::max();
  Clock::time_point read_deadline_ = Clock::time_point::max();
  Clock::time_point write_deadline_ = Clock::time_point::max();
  Clock::time_point linger_end_;  // while lingering
};

}  // namespace baton::gateway
