// One HTTP request and its answer: what the server offers to calls, and what it asks of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/http/http_message.h"

namespace baton::gateway {

// The answer side of one request. All on the loop's thread. Exactly one of these happens: one Send;
// or one StartStream, any number of Writes, then EndStream or BreakStream; or the call is told
// OnDisconnect and must not touch the exchange again.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual const HttpRequest& request() const = 0;

  // A complete answer.
  virtual void Send(HttpResponse response) = 0;

  // Status line and headers of an answer whose body comes in pieces.
  virtual void StartStream(int status, absl::string_view content_type,
                           const HttpHeaders& headers) = 0;
  virtual void Write(absl::string_view bytes) = 0;
  // The body is complete.
  virtual void EndStream() = 0;
  // The body is not complete and never will be: what was written is sent, then the connection is
  // closed without the end of the framing, so that no client takes the answer for a whole one.
  virtual void BreakStream() = 0;

  // Bytes written and not yet taken by the kernel. At HttpLimits::unsent_bytes and more the caller
  // must stop writing until HttpCall::OnWritable.
  virtual size_t unsent_bytes() const = 0;
  virtual size_t max_unsent_bytes() const = 0;
};

// How a client was lost before its answer was complete.
enum class Departure {
  kClosed,   // it closed the connection, or the network did
  kStalled,  // it took nothing for HttpLimits::write_timeout
};

// The work behind one exchange. All on the loop's thread; the server holds it until the answer is
// complete or the client is gone, then drops it.
class HttpCall {
 public:
  virtual ~HttpCall() = default;

  // The request's body is there until this returns.
  virtual void Start() = 0;
  // The client is gone, or cannot be written to. Nothing is called after it.
  virtual void OnDisconnect(Departure /*how*/) {}
  // The client caught up after unsent_bytes() had reached its limit.
  virtual void OnWritable() {}
  // The service gives up on this request (shutdown): answer at once, with an error.
  virtual void Abort(const absl::Status& reason) = 0;
};

// How an exchange went.
struct ExchangeRecord {
  std::string peer;  // "127.0.0.1:40444"; empty: not known any more
  int status = 0;
  uint64_t body_bytes = 0;  // of the answer
  absl::Duration duration;  // from the request's last byte to the answer's, or to the disconnect
  std::string request_id;   // X-Request-Id of the answer
  bool complete = false;    // else the client left, or the answer was broken off
};

// Finds the work for a request.
class HttpRouter {
 public:
  virtual ~HttpRouter() = default;
  // What a request is refused with before its body is read; nullopt: it is read on. Asked once of
  // each that has a body, when its header has come. The connection ends with the answer, unless
  // all of the body came with the header.
  virtual std::optional<HttpResponse> Screen(const HttpRequest& /*header*/) { return std::nullopt; }
  // Whether the call of a request that was not refused reads its body: others are dropped as they
  // come.
  virtual bool ReadsBody(const HttpRequest& /*header*/) { return true; }
  // On whose account a body that is read comes; empty: nobody's. Callers share the room for bodies
  // (BodyBudget).
  virtual std::string CallerOf(const HttpRequest& /*header*/) { return ""; }
  // Never null. `exchange` outlives the call.
  virtual std::unique_ptr<HttpCall> Route(HttpExchange& exchange) = 0;
  // Answer for requests that never became one: 400, 408, 413, 414, 417, 431, 503. `known`: method,
  // path and request id, as far as its header was read.
  virtual HttpResponse Refuse(const HttpRequest& known, int status, absl::string_view message) = 0;
  // What answers to `request` carry beside their own headers. Called once for each answer.
  virtual void AddHeaders(const HttpRequest& /*request*/, HttpHeaders* /*headers*/) {}
  // Whether OnExchangeEnd is to be called.
  virtual bool wants_records() const { return false; }
  virtual void OnExchangeEnd(const HttpRequest& /*request*/, const ExchangeRecord& /*record*/) {}
};

}  // namespace baton::gateway
