// Accepts HTTP connections on the event loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "boost/asio/ip/tcp.hpp"

#include "services/gateway/http/body_budget.h"
#include "services/gateway/http/http_connection.h"
#include "services/gateway/http/http_exchange.h"
#include "services/gateway/http/http_limits.h"
#include "services/gateway/http/listener.h"
#include "services/gateway/http/tls_context.h"
#include "services/gateway/loop/event_loop.h"

namespace baton::gateway {

struct HttpServerOptions {
  std::string host = "0.0.0.0";  // address or name to listen on
  int port = 8000;               // 0: any free one
  HttpLimits limits;
  TlsOptions tls;  // without a certificate: plain HTTP
  BodyWatch body_watch;
};

// Created, used and destroyed outside of the loop's thread.
class HttpServer {
 public:
  // Listens at once. `loop` and `router` must outlive the server. Errors: as Listener::Open and
  // TlsContext::Create.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Create(HttpServerOptions options,
                                                            EventLoop& loop, HttpRouter& router);
  // Takes over a listener; host and port of `options` mean nothing then.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Create(HttpServerOptions options,
                                                            Listener listener, EventLoop& loop,
                                                            HttpRouter& router);
  // Stops accepting and closes every connection; running calls are told.
  ~HttpServer();

  int port() const { return port_; }
  // Asks every running call to end with an error.
  void AbortCalls(const absl::Status& reason);
  // Waits until the kernel has every byte of the answers so far: what slow readers have not taken
  // would be lost with the process. False if `deadline` came first.
  bool AwaitSent(absl::Time deadline);
  size_t num_connections();
  // Of all requests' bodies, and of their copies.
  size_t num_body_bytes() const { return bodies_->num_bytes(); }

 private:
  HttpServer(HttpServerOptions options, Listener listener, EventLoop& loop, HttpRouter& router);

  void Accept();
  // A copy, because what is done with them may close some. On the loop.
  std::vector<std::shared_ptr<HttpConnection>> Connections() const;
  void OnAccept(const boost::system::error_code& error, boost::asio::ip::tcp::socket socket);

  const HttpServerOptions options_;
  EventLoop& loop_;
  HttpRouter& router_;
  const int port_;
  const std::shared_ptr<BodyBudget> bodies_;  // of all connections
  // The loop's own from here.
  std::unique_ptr<TlsContext> tls_;  // null: plain HTTP
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer accept_pause_;
  std::unordered_map<HttpConnection*, std::shared_ptr<HttpConnection>> connections_;
};

}  // namespace baton::gateway
