#include "tests/fakes/http_test_client.h"

#include <algorithm>
#include <cstdlib>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "common/log/check.h"

namespace baton {

std::string TestHttpResponse::Header(const std::string& name) const {
  for (absl::string_view line : absl::StrSplit(head, "\r\n")) {
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) continue;
    if (!absl::EqualsIgnoreCase(line.substr(0, colon), name)) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "";
}

std::vector<std::string> TestHttpResponse::Events() const {
  std::vector<std::string> events;
  for (absl::string_view block : absl::StrSplit(body, "\n\n")) {
    if (absl::StartsWith(block, "event: ")) {  // the name's own line
      block.remove_prefix(std::min(block.find('\n'), block.size() - 1) + 1);
    }
    if (absl::StartsWith(block, "data: ")) events.emplace_back(block.substr(6));
  }
  return events;
}

TestHttpClient::TestHttpClient(int port, absl::Duration timeout, int receive_buffer_bytes) {
  socket_ = socket(AF_INET, SOCK_STREAM, 0);
  BATON_CHECK(socket_ >= 0) << "no socket";
  const timeval wait = absl::ToTimeval(timeout);
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
  if (receive_buffer_bytes > 0) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  BATON_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0)
      << "cannot connect to port " << port;
}

TestHttpClient::~TestHttpClient() { Close(); }

void TestHttpClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void TestHttpClient::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t count = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return;  // the peer may refuse a request before its end
    sent += static_cast<size_t>(count);
  }
}

void TestHttpClient::SendRequest(const std::string& method, const std::string& target,
                                 const std::string& body, const std::string& more_headers) {
  std::string request = absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: test\r\n");
  if (!body.empty()) {
    absl::StrAppend(&request, "Content-Length: ", body.size(), "\r\n");
    if (more_headers.find("Content-Type") == std::string::npos) {
      absl::StrAppend(&request, "Content-Type: application/json\r\n");
    }
  }
  absl::StrAppend(&request, more_headers, "\r\n", body);
  Send(request);
}

bool TestHttpClient::ReadMore() { return ReceiveSome(16384); }

bool TestHttpClient::ReceiveSome(size_t most) {
  char buffer[16384];
  const ssize_t count = recv(socket_, buffer, std::min(most, sizeof(buffer)), 0);
  if (count <= 0) return false;
  received_.append(buffer, static_cast<size_t>(count));
  return true;
}

bool TestHttpClient::ReceiveUntil(const std::string& text) {
  while (received_.find(text) == std::string::npos) {
    if (!ReadMore()) return false;
  }
  return true;
}

bool TestHttpClient::ClosedByPeer() {
  char byte = 0;
  return received_.empty() && recv(socket_, &byte, 1, 0) == 0;
}

TestHttpResponse TestHttpClient::Receive() {
  TestHttpResponse response;
  do {  // interim responses (100) are skipped
    if (!ReceiveUntil("\r\n\r\n")) return response;
    const size_t end = received_.find("\r\n\r\n") + 4;
    response.head = received_.substr(0, end);
    received_.erase(0, end);
    response.status = std::atoi(response.head.c_str() + sizeof("HTTP/1.1"));
  } while (response.status / 100 == 1);
  response.body = TakeBody(response.head, &response.complete);
  return response;
}

std::string TestHttpClient::TakeBody(const std::string& head, bool* complete) {
  TestHttpResponse parsed;
  parsed.head = head;
  if (absl::EqualsIgnoreCase(parsed.Header("Transfer-Encoding"), "chunked")) {
    return TakeChunks(complete);
  }
  size_t length = 0;
  *complete = true;
  if (!absl::SimpleAtoi(parsed.Header("Content-Length"), &length)) {
    while (ReadMore()) {
    }
    return std::move(received_);
  }
  while (received_.size() < length) {
    if (ReadMore()) continue;
    *complete = false;
    break;
  }
  std::string body = received_.substr(0, length);
  received_.erase(0, length);
  return body;
}

std::string TestHttpClient::TakeChunks(bool* complete) {
  std::string body;
  *complete = false;
  while (true) {
    if (!ReceiveUntil("\r\n")) return body;
    const size_t line_end = received_.find("\r\n");
    const size_t size = std::strtoul(received_.substr(0, line_end).c_str(), nullptr, 16);
    while (received_.size() < line_end + 2 + size + 2) {
      if (!ReadMore()) return body;
    }
    body.append(received_, line_end + 2, size);
    received_.erase(0, line_end + 2 + size + 2);
    if (size > 0) continue;
    *complete = true;
    return body;
  }
}

}  // namespace baton
