#include "tools/local_http/local_http.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace baton {
namespace {

using Clock = std::chrono::steady_clock;

// Calls on `fd` wait until `deadline` from now on; false: it has passed.
bool WaitUntil(Clock::time_point deadline, int fd) {
  const auto left = deadline - Clock::now();
  if (left <= Clock::duration::zero()) return false;
  // A limit of 0 would be none.
  const timeval limit = absl::ToTimeval(std::max(absl::FromChrono(left), absl::Microseconds(1)));
  return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
         setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0;
}

}  // namespace

absl::StatusOr<std::string> LocalHttpGet(const std::string& host, int port, const std::string& path,
                                         absl::Duration timeout) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 || address.sin_addr.s_addr == 0)
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::UnavailableError("no socket");
  const Clock::time_point deadline = Clock::now() + absl::ToChronoNanoseconds(timeout);
  std::string reply;
  ssize_t n = -1;  // 0 at the end of the answer
  if (WaitUntil(deadline, fd) &&
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host, ":", port,
                                             "\r\nConnection: close\r\n\r\n");
    send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    std::array<char, 4096> chunk{};
    do {
      n = WaitUntil(deadline, fd) ? recv(fd, chunk.data(), chunk.size(), 0) : -1;
      if (n > 0) reply.append(chunk.data(), static_cast<size_t>(n));
    } while (n > 0);
  }
  close(fd);
  if (n < 0) return absl::UnavailableError("no answer");
  const size_t head = reply.find("\r\n\r\n");
  if (head == std::string::npos) return absl::UnavailableError("no answer");
  std::string body = reply.substr(head + 4);
  if (absl::StartsWith(reply, "HTTP/1.1 200")) return body;
  return absl::UnavailableError(std::vector<std::string>(absl::StrSplit(body, '\n'))[0]);
}

}  // namespace baton
