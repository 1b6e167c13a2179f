#include "services/gateway/http/http_server.h"

#include <memory>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::gateway {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// Out of descriptors: wait for some to be closed instead of spinning.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
// Connections over the limit that may be told so at a time; others are closed without a word, for
// each costs memory until its client has taken the answer.
constexpr size_t kMostRefusals = 256;

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(HttpServerOptions options,
                                                               EventLoop& loop,
                                                               HttpRouter& router) {
  ASSIGN_OR_RETURN(Listener listener, Listener::Open(options.host, options.port));
  return Create(std::move(options), std::move(listener), loop, router);
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(HttpServerOptions options,
                                                               Listener listener, EventLoop& loop,
                                                               HttpRouter& router) {
  std::unique_ptr<TlsContext> tls;
  if (!options.tls.certificate_file.empty()) {
    ASSIGN_OR_RETURN(tls, TlsContext::Create(options.tls));
  }
  std::unique_ptr<HttpServer> server(
      new HttpServer(std::move(options), std::move(listener), loop, router));
  server->tls_ = std::move(tls);
  loop.Post([raw = server.get()] { raw->Accept(); });
  return server;
}

HttpServer::HttpServer(HttpServerOptions options, Listener listener, EventLoop& loop,
                       HttpRouter& router)
    : options_(std::move(options)),
      loop_(loop),
      router_(router),
      port_(listener.port()),
      bodies_(std::make_shared<BodyBudget>(options_.limits.total_body_bytes, options_.body_watch)),
      acceptor_(loop.context(), listener.family() == AF_INET6 ? tcp::v6() : tcp::v4(),
                listener.Release()),
      accept_pause_(loop.context()) {}

HttpServer::~HttpServer() {
  loop_.RunAndWait([this] {
    error_code ignored;
    acceptor_.close(ignored);
    accept_pause_.cancel();
    const auto connections = std::move(connections_);
    connections_.clear();
    for (const auto& [raw, connection] : connections) connection->Drop();
  });
  // The completions of what was just closed refer to this object: let them run first.
  loop_.RunAndWait([] {});
}

void HttpServer::Accept() {
  acceptor_.async_accept(
      [this](const error_code& error, tcp::socket socket) { OnAccept(error, std::move(socket)); });
}

void HttpServer::OnAccept(const error_code& error, tcp::socket socket) {
  if (error == boost::asio::error::operation_aborted) return;
  if (error) {
    BATON_LOG(WARNING) << "cannot accept a connection: " << error.message();
    accept_pause_.expires_after(kAcceptPause);
    accept_pause_.async_wait([this](const error_code& cancelled) {
      if (!cancelled) Accept();
    });
    return;
  }
  const size_t most = options_.limits.connections;
  if (connections_.size() >= most + kMostRefusals) return Accept();  // closes it
  SslSession session;
  if (tls_ != nullptr) {
    session = tls_->NewSession(socket.native_handle());
    if (session == nullptr) return Accept();  // closes it
  }
  auto connection = std::make_shared<HttpConnection>(
      HttpSocket(std::move(socket), std::move(session)),
      HttpConnection::Shared{options_.limits, router_, bodies_},
      [this](HttpConnection* closed) { connections_.erase(closed); });
  const bool full = connections_.size() >= most;
  connections_.emplace(connection.get(), connection);
  if (full) {
    connection->Refuse(
        503, absl::StrCat("too many connections: at most ", most, " (--max-connections)"));
  } else {
    connection->Start();
  }
  Accept();
}

std::vector<std::shared_ptr<HttpConnection>> HttpServer::Connections() const {
  std::vector<std::shared_ptr<HttpConnection>> connections;
  connections.reserve(connections_.size());
  for (const auto& [raw, connection] : connections_) connections.push_back(connection);
  return connections;
}

void HttpServer::AbortCalls(const absl::Status& reason) {
  loop_.RunAndWait([&] {
    for (const auto& connection : Connections()) connection->Abort(reason);
  });
}

bool HttpServer::AwaitSent(absl::Time deadline) {
  // Shared: a connection that is late tells it after this call.
  const auto all_sent = std::make_shared<SteadyNotification>();
  loop_.RunAndWait([&] {
    // Freed, and with it the notification made, by the last connection that is done.
    const std::shared_ptr<void> last(nullptr, [all_sent](void*) { all_sent->Notify(); });
    for (const auto& connection : Connections()) connection->WhenSent([last] {});
  });
  return all_sent->WaitForNotificationWithDeadline(deadline);
}

size_t HttpServer::num_connections() {
  size_t count = 0;
  loop_.RunAndWait([&] { count = connections_.size(); });
  return count;
}

}  // namespace baton::gateway
