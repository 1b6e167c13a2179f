#include "common/metrics/small_http_server.h"

#include <ctime>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <arpa/inet.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/http_get.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<SmallHttpServer> Serve(SmallHttpServer::Answer answer) {
  auto server = SmallHttpServer::Create("127.0.0.1:0", std::move(answer));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

SmallHttpReply Echo(const std::string& path) { return {200, "text/plain", "<" + path + ">"}; }

TEST(SmallHttpServer, AnswersByPathWithoutQuery) {
  const auto server = Serve(Echo);
  const HttpReply reply = HttpGet(server->port(), "/a/b?c=d");
  EXPECT_EQ(reply.code, 200);
  EXPECT_EQ(reply.body, "</a/b>");
  EXPECT_THAT(reply.header, HasSubstr("Content-Length: 6"));
}

TEST(SmallHttpServer, SendsLargeBodies) {
  const std::string large(4 << 20, 'x');
  const auto server = Serve([&](const std::string&) {
    return SmallHttpReply{200, "text/plain", large};
  });
  EXPECT_EQ(HttpGet(server->port(), "/").body, large);
}

TEST(SmallHttpServer, RefusesOversizedAndMalformedRequests) {
  const auto server = Serve(Echo);
  EXPECT_EQ(HttpGet(server->port(), "/" + std::string(8200, 'x')).code, 431);
  EXPECT_EQ(HttpGet(server->port(), "/two words").code, 400);
}

TEST(SmallHttpServer, ServesMoreClientsThanItKeepsOpen) {
  const auto server = Serve(Echo);
  std::vector<std::thread> clients;
  std::vector<int> codes(50);
  for (size_t i = 0; i < codes.size(); ++i)
    clients.emplace_back([&, i] { codes[i] = HttpGet(server->port(), "/x").code; });
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(codes, ::testing::Each(200));
}

// Leaves this process no free descriptor while it lives.
class NoDescriptors final {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit low = before_;
    low.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &low);
    for (int fd = 0; (fd = dup(0)) >= 0;) taken_.push_back(fd);
  }
  ~NoDescriptors() {
    for (const int fd : taken_) close(fd);
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  std::vector<int> taken_;
};

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST(SmallHttpServer, RestsWithoutDescriptorsAndAnswersAfterwards) {
  const auto server = Serve(Echo);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request = "GET /later HTTP/1.1\r\n\r\n";
  pollfd watched{client, POLLIN, 0};
  {
    const NoDescriptors none;
    ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(send(client, request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    const double before = CpuSeconds();
    EXPECT_EQ(poll(&watched, 1, 500), 0);  // the kernel has connected us; nobody answers
    EXPECT_LT(CpuSeconds() - before, 0.05);
  }
  EXPECT_EQ(poll(&watched, 1, 30000), 1);
  char reply[12] = {};
  EXPECT_EQ(recv(client, reply, sizeof reply, MSG_WAITALL), 12);
  EXPECT_EQ(std::string(reply, sizeof reply), "HTTP/1.1 200");
  close(client);
}

TEST(SmallHttpServer, RefusesBadAddresses) {
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:70000", "no.numeric.host:80"})
    EXPECT_EQ(SmallHttpServer::Create(address, Echo).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
}

}  // namespace
}  // namespace baton
