#include "tools/local_http/local_http.h"

#include <array>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace baton {

absl::StatusOr<std::string> LocalHttpGet(const std::string& host, int port, const std::string& path,
                                         absl::Duration timeout) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1 || address.sin_addr.s_addr == 0)
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::UnavailableError("no socket");
  const timeval limit = absl::ToTimeval(timeout);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  std::string reply;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host, ":", port,
                                             "\r\nConnection: close\r\n\r\n");
    send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    std::array<char, 4096> chunk{};
    for (ssize_t n = 0; (n = recv(fd, chunk.data(), chunk.size(), 0)) > 0;)
      reply.append(chunk.data(), static_cast<size_t>(n));
  }
  close(fd);
  const size_t head = reply.find("\r\n\r\n");
  if (head == std::string::npos) return absl::UnavailableError("no answer");
  std::string body = reply.substr(head + 4);
  if (absl::StartsWith(reply, "HTTP/1.1 200")) return body;
  return absl::UnavailableError(std::vector<std::string>(absl::StrSplit(body, '\n'))[0]);
}

}  // namespace baton
