#include "tools/local_http/local_http.h"

#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gtest/gtest.h"

#include "common/metrics/small_http_server.h"

namespace baton {
namespace {

TEST(LocalHttpGet, ReturnsTheBodyOrTheReason) {
  auto server = SmallHttpServer::Create("127.0.0.1:0", [](const std::string& path) {
    if (path == "/good") return SmallHttpReply{200, "text/plain", "fine\n"};
    return SmallHttpReply{503, "text/plain", "stage 1 is missing\nmore\n"};
  });
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  EXPECT_EQ(*LocalHttpGet("127.0.0.1", port, "/good", absl::Seconds(10)), "fine\n");
  EXPECT_EQ(*LocalHttpGet("0.0.0.0", port, "/good", absl::Seconds(10)), "fine\n");
  EXPECT_EQ(LocalHttpGet("127.0.0.1", port, "/bad", absl::Seconds(10)).status(),
            absl::UnavailableError("stage 1 is missing"));
  server->reset();
  EXPECT_EQ(LocalHttpGet("127.0.0.1", port, "/good", absl::Seconds(10)).status(),
            absl::UnavailableError("no answer"));
}

// Sends one byte after the other, without an end, to the first who asks.
class EndlessServer final {
 public:
  EndlessServer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    listen(socket_, 1);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      const int fd = accept(socket_, nullptr, nullptr);
      const std::string head = "HTTP/1.1 200 OK\r\n\r\n";
      send(fd, head.data(), head.size(), MSG_NOSIGNAL);
      while (send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
      }
      close(fd);
    });
  }
  ~EndlessServer() {
    shutdown(socket_, SHUT_RDWR);  // nobody may have asked: accept ends
    thread_.join();
    close(socket_);
  }
  int port() const { return port_; }

 private:
  const int socket_;
  int port_ = 0;
  std::thread thread_;
};

TEST(EndlessServer, EndsThoughNobodyAsked) { const EndlessServer server; }

// Each piece comes in time; the whole never does.
TEST(LocalHttpGet, WaitsNoLongerForAnAnswerThatDoesNotEnd) {
  const EndlessServer server;
  EXPECT_EQ(LocalHttpGet("127.0.0.1", server.port(), "/", absl::Milliseconds(50)).status(),
            absl::UnavailableError("no answer"));
}

}  // namespace
}  // namespace baton
