#include "tests/fakes/http_get.h"

#include <array>
#include <cstdio>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace baton {

HttpReply HttpGet(int port, const std::string& path) {
  HttpReply reply;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{30, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string text;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    std::array<char, 4096> chunk{};
    for (ssize_t n = 0; (n = recv(fd, chunk.data(), chunk.size(), 0)) > 0;)
      text.append(chunk.data(), static_cast<size_t>(n));
  }
  close(fd);
  const size_t split = text.find("\r\n\r\n");
  if (split == std::string::npos) return reply;
  reply.header = text.substr(0, split);
  reply.body = text.substr(split + 4);
  std::sscanf(reply.header.c_str(), "HTTP/%*s %d", &reply.code);
  return reply;
}

}  // namespace baton
