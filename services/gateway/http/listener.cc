#include "services/gateway/http/listener.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

#include "absl/strings/str_cat.h"

namespace baton::gateway {

absl::StatusOr<Listener> Listener::Open(const std::string& host, int port) {
  const std::string address = absl::StrCat(host, ":", port);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                 std::to_string(port).c_str(), &wanted, &found);
  if (failed != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve --host for ", address, ": ", gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  Listener listener(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), found->ai_family);
  const int on = 1;
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (listener.socket_ < 0 ||
      setsockopt(listener.socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(listener.socket_, found->ai_addr, found->ai_addrlen) != 0 ||
      listen(listener.socket_, SOMAXCONN) != 0 ||
      getsockname(listener.socket_, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", std::strerror(errno)));
  }
  const in_port_t bound_port = bound.ss_family == AF_INET6
                                   ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                   : reinterpret_cast<sockaddr_in*>(&bound)->sin_port;
  listener.port_ = ntohs(bound_port);
  return listener;
}

Listener::~Listener() {
  if (socket_ >= 0) close(socket_);
}

}  // namespace baton::gateway
