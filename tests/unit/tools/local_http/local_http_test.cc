#include "tools/local_http/local_http.h"

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

}  // namespace
}  // namespace baton
