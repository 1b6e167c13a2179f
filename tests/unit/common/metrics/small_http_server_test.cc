#include "common/metrics/small_http_server.h"

#include <thread>
#include <vector>

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

TEST(SmallHttpServer, RefusesBadAddresses) {
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:70000", "no.numeric.host:80"})
    EXPECT_EQ(SmallHttpServer::Create(address, Echo).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
}

}  // namespace
}  // namespace baton
