// A socket that listens before anybody accepts: connections wait in the kernel meanwhile.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace baton::gateway {

class Listener final {
 public:
  // `host`: address or name of this machine; `port` 0: any free one. A port that another process
  // has just left can be taken at once. Errors: InvalidArgument (the host cannot be resolved),
  // Unavailable (the address cannot be bound); both name it.
  static absl::StatusOr<Listener> Open(const std::string& host, int port);
  ~Listener();
  Listener(Listener&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), family_(other.family_), port_(other.port_) {}
  Listener& operator=(Listener&&) = delete;

  int family() const { return family_; }  // AF_INET or AF_INET6
  int port() const { return port_; }
  // The descriptor, whose owner is the caller from here on.
  int Release() { return std::exchange(socket_, -1); }

 private:
  Listener(int socket, int family) : socket_(socket), family_(family) {}

  int socket_;
  int family_;
  int port_ = 0;
};

}  // namespace baton::gateway
