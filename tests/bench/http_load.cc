#include "tests/bench/http_load.h"

#include <cstdio>
#include <cstdlib>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace baton {
namespace {

constexpr size_t kReceiveBytes = 64 << 10;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

}  // namespace

HttpLoadClient::HttpLoadClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("connect");
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

HttpLoadClient::~HttpLoadClient() { close(socket_); }

void HttpLoadClient::SendAll(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) Die("send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void HttpLoadClient::ReadMore() {
  const size_t before = received_.size();
  received_.resize(before + kReceiveBytes);
  const ssize_t got = recv(socket_, received_.data() + before, kReceiveBytes, 0);
  if (got <= 0) Die("recv");
  received_.resize(before + static_cast<size_t>(got));
}

absl::string_view HttpLoadClient::Exchange(absl::string_view request) {
  received_.clear();
  SendAll(request);
  size_t head = 0;
  while ((head = received_.find("\r\n\r\n")) == std::string::npos) ReadMore();
  const std::string name = "Content-Length: ";
  const size_t at = received_.find(name);
  size_t length = 0;
  if (at >= head ||
      !absl::SimpleAtoi(
          received_.substr(at + name.size(), received_.find("\r\n", at) - at - name.size()),
          &length)) {
    Die("an answer without Content-Length");
  }
  while (received_.size() < head + 4 + length) ReadMore();
  return received_;
}

size_t HttpLoadClient::Stream(absl::string_view request) {
  received_.clear();
  SendAll(request);
  size_t num_bytes = 0;
  while (!absl::EndsWith(received_, "0\r\n\r\n")) {
    if (received_.size() > kReceiveBytes) {
      num_bytes += received_.size() - 16;
      received_.erase(0, received_.size() - 16);
    }
    ReadMore();
    if (num_bytes == 0 && !absl::StartsWith(received_, "HTTP/1.1 200")) return 0;
  }
  return num_bytes + received_.size();
}

}  // namespace baton
