#include "services/gateway/http/http_server.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "boost/asio/ip/address.hpp"

#include "common/log/log.h"

namespace baton::gateway {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// Out of descriptors: wait for some to be closed instead of spinning.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(HttpServerOptions options,
                                                               EventLoop& loop,
                                                               HttpRouter& router) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(options), loop, router));
  if (absl::Status status = server->Listen(); !status.ok()) return status;
  loop.Post([raw = server.get()] { raw->Accept(); });
  return server;
}

HttpServer::HttpServer(HttpServerOptions options, EventLoop& loop, HttpRouter& router)
    : options_(std::move(options)),
      loop_(loop),
      router_(router),
      acceptor_(loop.context()),
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

absl::Status HttpServer::Listen() {
  error_code error;
  tcp::resolver resolver(loop_.context());
  const auto found =
      resolver.resolve(options_.host, absl::StrCat(options_.port), tcp::resolver::passive, error);
  const std::string address = absl::StrCat(options_.host, ":", options_.port);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve --host for ", address, ": ", error.message()));
  }
  const tcp::endpoint endpoint = *found.begin();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", error.message()));
  }
  port_ = acceptor_.local_endpoint().port();
  return absl::OkStatus();
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
  auto connection = std::make_shared<HttpConnection>(
      std::move(socket), options_.limits, router_,
      [this](HttpConnection* closed) { connections_.erase(closed); });
  const bool full = connections_.size() >= options_.limits.connections;
  connections_.emplace(connection.get(), connection);
  if (full) {
    connection->Refuse(503, "too many connections");
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
  const auto all_sent = std::make_shared<absl::Notification>();
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
