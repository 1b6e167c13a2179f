// What the bodies of all requests hold at once, from their first byte to the moment they are freed.
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/http/http_server.h"
#include "tests/fakes/http_test_client.h"
#include "tests/unit/services/gateway/http/http_server_fixture.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

constexpr char kPost[] = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n";

class HttpBodiesTest : public HttpServerTest {
 protected:
  void AwaitBodyBytes(size_t num_bytes) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (server_->num_body_bytes() != num_bytes) {
      ASSERT_LT(absl::Now(), deadline) << server_->num_body_bytes();
    }
  }
};

TEST_F(HttpBodiesTest, WhatDoesNotFitBesideTheOthersIsA503) {
  Serve({.body_bytes = 1000, .total_body_bytes = 1500});
  TestHttpClient first(server_->port());
  first.Send(kPost + std::string(900, 'x'));
  AwaitBodyBytes(900);
  TestHttpClient second(server_->port());
  second.Send(kPost + std::string(700, 'x'));
  const TestHttpResponse refused = second.Receive();
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("at most 1500 bytes (--max-total-body-mib)"));
  EXPECT_EQ(refused.Header("Connection"), "close");
  // It is read on, so that the answer is not lost, and holds nothing of the body.
  second.Send(std::string(300, 'x'));
  EXPECT_TRUE(second.ClosedByPeer());
  EXPECT_EQ(server_->num_body_bytes(), 900u);
  first.Send(std::string(100, 'x'));
  EXPECT_EQ(first.Receive().body, "POST " + std::string(1000, 'x'));
  AwaitBodyBytes(0);
  TestHttpClient third(server_->port());
  third.Send(kPost + std::string(1000, 'x'));
  EXPECT_EQ(third.Receive().status, 200);
}

TEST_F(HttpBodiesTest, WhatIsAnnouncedCountsNothing) {
  Serve({.body_bytes = 1000, .total_body_bytes = 1000});
  TestHttpClient announcing(server_->port());
  announcing.Send(kPost + std::string("x"));
  AwaitBodyBytes(1);
  TestHttpClient other(server_->port());
  other.SendRequest("POST", "/echo", std::string(999, 'x'));
  EXPECT_EQ(other.Receive().status, 200);
}

TEST_F(HttpBodiesTest, ABodyIsFreedOnceItsCallHasBegun) {
  Serve({.body_bytes = 1000, .total_body_bytes = 1000});
  TestHttpClient hanging(server_->port());
  hanging.SendRequest("POST", "/hang", std::string(1000, 'x'));
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(30)));
  AwaitBodyBytes(0);
}

TEST_F(HttpBodiesTest, ABodyIsFreedWhenItsClientGoes) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send(kPost + std::string(900, 'x'));
  AwaitBodyBytes(900);
  client.Close();
  AwaitBodyBytes(0);
}

// Its connection is read on for as long as it sends.
TEST_F(HttpBodiesTest, ARefusedBodyIsFreedAtOnce) {
  Serve({.body_bytes = 1000, .linger_timeout = absl::Hours(1)});
  TestHttpClient client(server_->port());
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 9; ++i) client.Send("64\r\n" + std::string(100, 'x') + "\r\n");
  AwaitBodyBytes(900);
  client.Send("c8\r\n" + std::string(200, 'x') + "\r\n");
  EXPECT_EQ(client.Receive().status, 413);
  EXPECT_EQ(server_->num_body_bytes(), 0u);
  EXPECT_EQ(server_->num_connections(), 1u);
}

TEST_F(HttpBodiesTest, ABodyThatNobodyReadsIsDroppedAsItComes) {
  Serve({.body_bytes = 1000, .total_body_bytes = 10});
  TestHttpClient client(server_->port());
  for (const char* method : {"POST", "GET"}) {
    client.Send(method + std::string(" /bodiless HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n"
                                     "Expect: 100-continue\r\n\r\n"));
    ASSERT_TRUE(client.ReceiveUntil(" 100 "));
    client.Send(std::string(1000, 'x'));
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, method + std::string(" ")) << "the connection goes on behind it";
  }
  EXPECT_EQ(StatusOf("POST /bodiless HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n"), 413);
}

}  // namespace
}  // namespace baton::gateway
