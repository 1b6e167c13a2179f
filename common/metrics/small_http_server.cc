#include "common/metrics/small_http_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr size_t kMaxConnections = 32;
constexpr size_t kMaxRequestBytes = 8 << 10;
constexpr absl::Duration kMaxConnectionTime = absl::Seconds(5);
// After a failed accept, usually for want of descriptors: the client stays in the queue, so that
// poll would return at once for ever.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

class Descriptor final {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::string_view ReasonOf(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Bad Request";
  }
}

// One client: first its request arrives, then our reply leaves.
struct Connection {
  Descriptor socket;
  absl::Time deadline;
  std::string request;
  std::string reply;  // not empty: being sent
  size_t sent_bytes = 0;
};

absl::StatusOr<Descriptor> Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535)
    return absl::InvalidArgumentError(absl::StrCat("address \"", address, "\" is not host:port"));
  std::string host = address.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.empty() ? nullptr : host.c_str(), absl::StrCat(port).c_str(), &hints,
                  &found) != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", address, "\": the host is not a numeric address"));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  Descriptor socket(
      ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol));
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(socket.get(), static_cast<int>(kMaxConnections)) != 0)
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", std::strerror(errno)));
  return socket;
}

int PortOf(int socket) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  // The port lies at the same place in both families.
  return ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

class PollingServer final : public SmallHttpServer {
 public:
  PollingServer(Descriptor listener, Descriptor wake, Answer answer)
      : listener_(std::move(listener)),
        wake_(std::move(wake)),
        answer_(std::move(answer)),
        port_(PortOf(listener_.get())),
        thread_([this] { Serve(); }) {}

  ~PollingServer() override {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

  int port() const override { return port_; }

 private:
  void Serve() {
    while (true) {
      std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
      const bool paused = SteadyNow() < accept_again_;
      const bool accepting = !paused && connections_.size() < kMaxConnections;
      watched.push_back({accepting ? listener_.get() : -1, POLLIN, 0});
      absl::Time next = paused ? accept_again_ : absl::InfiniteFuture();
      for (const Connection& connection : connections_) {
        const short wanted = connection.reply.empty() ? POLLIN : POLLOUT;  // NOLINT: poll's type
        watched.push_back({connection.socket.get(), wanted, 0});
        next = std::min(next, connection.deadline);
      }
      if (poll(watched.data(), watched.size(), TimeoutMs(next)) < 0) continue;  // interrupted
      if (watched[0].revents != 0) return;
      size_t index = 2;
      for (auto it = connections_.begin(); it != connections_.end(); ++index) {
        const bool active = watched[index].revents != 0;
        const bool keep = active ? Step(&*it) : SteadyNow() < it->deadline;
        it = keep ? std::next(it) : connections_.erase(it);
      }
      if (watched[1].revents != 0) Accept();
    }
  }

  static int TimeoutMs(absl::Time next) {
    if (next == absl::InfiniteFuture()) return -1;
    const absl::Duration left = std::max(next - SteadyNow(), absl::ZeroDuration());
    return static_cast<int>(absl::ToInt64Milliseconds(left)) + 1;
  }

  void Accept() {
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
      connections_.push_back({Descriptor(fd), SteadyNow() + kMaxConnectionTime, "", "", 0});
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
      accept_again_ = SteadyNow() + kAcceptPause;
  }

  // Reads or writes what is possible now; false once the connection is done with.
  bool Step(Connection* connection) {
    if (connection->reply.empty()) {
      std::array<char, 2048> chunk;
      const ssize_t n = recv(connection->socket.get(), chunk.data(), chunk.size(), 0);
      if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
      connection->request.append(chunk.data(), static_cast<size_t>(n));
      if (connection->request.size() > kMaxRequestBytes)
        connection->reply = Render({431, "text/plain", "request too large\n"}, true);
      else if (absl::StrContains(connection->request, "\r\n\r\n"))
        connection->reply = AnswerTo(connection->request);
      return true;
    }
    const absl::string_view rest =
        absl::string_view(connection->reply).substr(connection->sent_bytes);
    const ssize_t n = send(connection->socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    connection->sent_bytes += static_cast<size_t>(n);
    return connection->sent_bytes < connection->reply.size();
  }

  std::string AnswerTo(const std::string& request) const {
    const std::vector<std::string> words =
        absl::StrSplit(request.substr(0, request.find("\r\n")), ' ');
    if (words.size() != 3 || !absl::StartsWith(words[2], "HTTP/1."))
      return Render({400, "text/plain", "not an HTTP/1 request\n"}, true);
    if (words[0] != "GET" && words[0] != "HEAD")
      return Render({405, "text/plain", "only GET\n"}, true);
    return Render(answer_(words[1].substr(0, words[1].find('?'))), words[0] == "GET");
  }

  static std::string Render(const SmallHttpReply& reply, bool with_body) {
    return absl::StrCat("HTTP/1.1 ", reply.code, " ", ReasonOf(reply.code),
                        "\r\nContent-Type: ", reply.content_type,
                        "\r\nContent-Length: ", reply.body.size(), "\r\nConnection: close\r\n\r\n",
                        with_body ? reply.body : "");
  }

  const Descriptor listener_;
  const Descriptor wake_;
  const Answer answer_;
  const int port_;
  std::list<Connection> connections_;  // this and the next of thread_ alone
  absl::Time accept_again_ = absl::InfinitePast();
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SmallHttpServer>> SmallHttpServer::Create(const std::string& address,
                                                                         Answer answer) {
  ASSIGN_OR_RETURN(Descriptor listener, Listen(address));
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (wake.get() < 0) return absl::InternalError("no descriptor for an event");
  return std::make_unique<PollingServer>(std::move(listener), std::move(wake), std::move(answer));
}

}  // namespace baton
