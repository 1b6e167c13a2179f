// What the bodies of all requests hold at once, from their first byte to the moment they are freed.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/http/body_budget.h"
#include "services/gateway/http/http_server.h"
#include "tests/fakes/http_test_client.h"
#include "tests/unit/services/gateway/http/http_server_fixture.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

constexpr size_t kFree = BodyHold::kFreeBytes;

std::string Head(const std::string& start, size_t num_bytes) {
  return absl::StrCat(start, " HTTP/1.1\r\nHost: t\r\nContent-Length: ", num_bytes, "\r\n\r\n");
}

// The begin of a request whose body takes 1000 bytes, and the first of it, which take `num_taken`.
std::string Begun(size_t num_taken) {
  return Head("POST /echo", kFree + 1000) + std::string(kFree + num_taken, 'x');
}

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
  Serve({.body_bytes = kFree + 1000,
         .total_body_bytes = 1500,
         .body_window = absl::Hours(1),
         .linger_timeout = absl::Hours(1)});
  TestHttpClient first(server_->port());
  first.Send(Begun(900));
  AwaitBodyBytes(900);
  TestHttpClient second(server_->port());
  second.Send(Begun(700));
  const TestHttpResponse refused = second.Receive();
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("or of this API key, are too large"));
  EXPECT_THAT(refused.body, HasSubstr("at most 1500 bytes (--max-total-body-mib), of which"));
  EXPECT_EQ(refused.Header("Connection"), "close");
  // It is read on, so that the answer is not lost, and holds nothing of the body.
  second.Send(std::string(300, 'x'));
  EXPECT_TRUE(second.ClosedByPeer());
  EXPECT_EQ(server_->num_body_bytes(), 900u);
  first.Send(std::string(100, 'x'));
  EXPECT_EQ(first.Receive().body, "POST " + std::string(kFree + 1000, 'x'));
  AwaitBodyBytes(0);
  TestHttpClient third(server_->port());
  third.Send(Begun(1000));
  EXPECT_EQ(third.Receive().status, 200);
}

TEST_F(HttpBodiesTest, WhatIsAnnouncedCountsNothing) {
  Serve({.body_bytes = kFree + 1000, .total_body_bytes = 1000});
  TestHttpClient announcing(server_->port());
  announcing.Send(Begun(1));
  AwaitBodyBytes(1);
  TestHttpClient other(server_->port());
  other.SendRequest("POST", "/echo", std::string(kFree + 999, 'x'));
  EXPECT_EQ(other.Receive().status, 200);
}

TEST_F(HttpBodiesTest, ABodyIsFreedOnceItsCallHasBegun) {
  Serve({.body_bytes = kFree + 1000, .total_body_bytes = 1000});
  TestHttpClient hanging(server_->port());
  hanging.SendRequest("POST", "/hang", std::string(kFree + 1000, 'x'));
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(30)));
  AwaitBodyBytes(0);
}

TEST_F(HttpBodiesTest, ABodyIsFreedWhenItsClientGoes) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send(Begun(900));
  AwaitBodyBytes(900);
  client.Close();
  AwaitBodyBytes(0);
}

// Its connection is read on for as long as it sends.
TEST_F(HttpBodiesTest, ARefusedBodyIsFreedAtOnce) {
  Serve({.body_bytes = kFree + 1000, .linger_timeout = absl::Hours(1)});
  TestHttpClient client(server_->port());
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.Send("4000\r\n" + std::string(kFree, 'x') + "\r\n");
  for (int i = 0; i < 9; ++i) client.Send("64\r\n" + std::string(100, 'x') + "\r\n");
  AwaitBodyBytes(900);
  client.Send("c8\r\n" + std::string(200, 'x') + "\r\n");
  EXPECT_EQ(client.Receive().status, 413);
  EXPECT_EQ(server_->num_body_bytes(), 0u);
  EXPECT_EQ(server_->num_connections(), 1u);
}

// Large ones of one client may take all: what others ask for every day still comes.
TEST_F(HttpBodiesTest, SmallBodiesAreTakenHoweverManyBytesOthersHold) {
  Serve({.body_bytes = 2 * kFree, .total_body_bytes = 1000, .body_window = absl::Hours(1)});
  TestHttpClient large(server_->port());
  large.Send(Head("POST /echo", kFree + 1001) + std::string(kFree + 1000, 'x'));
  AwaitBodyBytes(1000);
  for (const size_t num_bytes : {size_t{1}, kFree}) {
    EXPECT_EQ(StatusOf(Head("POST /echo", num_bytes) + std::string(num_bytes, 'x')), 200);
  }
  EXPECT_EQ(StatusOf(Head("POST /echo", kFree + 1) + std::string(kFree + 1, 'x')), 503);
  EXPECT_EQ(server_->num_body_bytes(), 1000u);
}

TEST_F(HttpBodiesTest, LargeBodiesOfOneCallerLeaveRoomForAnother) {
  Serve({.body_bytes = kFree + 8000, .total_body_bytes = 8000, .body_window = absl::Hours(1)});
  const auto head = [](const char* key, size_t num_bytes) {
    return absl::StrCat("POST /echo HTTP/1.1\r\nHost: t\r\nx-api-key: ", key,
                        "\r\nContent-Length: ", kFree + num_bytes, "\r\n\r\n");
  };
  TestHttpClient large(server_->port());
  large.Send(head("one", 6001) + std::string(kFree + 6000, 'x'));
  AwaitBodyBytes(6000);
  EXPECT_EQ(StatusOf(head("one", 1500) + std::string(kFree + 1500, 'x')), 503);
  EXPECT_EQ(StatusOf(head("two", 1500) + std::string(kFree + 1500, 'x')), 200);
  AwaitBodyBytes(6000);  // the answer may be here before the body is freed
}

TEST_F(HttpBodiesTest, WhatNobodyReadsOrIsRefusedNeedsNoRoomAlthoughItComesWithItsHeader) {
  Serve({.body_bytes = 2 * kFree, .total_body_bytes = 1000, .body_window = absl::Hours(1)});
  TestHttpClient large(server_->port());
  large.Send(Head("POST /echo", kFree + 1001) + std::string(kFree + 1000, 'x'));
  AwaitBodyBytes(1000);
  for (const size_t num_bytes : {size_t{1}, 2 * kFree}) {
    const std::string body(num_bytes, 'x');
    EXPECT_EQ(StatusOf(Head("POST /bodiless", num_bytes) + body), 200);
    EXPECT_EQ(StatusOf(Head("GET /bodiless", num_bytes) + body), 200);
    EXPECT_EQ(StatusOf(Head("POST /closed", num_bytes) + body), 401);
  }
  EXPECT_EQ(server_->num_body_bytes(), 1000u);
}

// It is at its end: nothing behind it can be taken for a part of it.
TEST_F(HttpBodiesTest, ARefusalWhoseBodyCameWithTheHeaderKeepsTheConnection) {
  Serve();
  TestHttpClient client(server_->port());
  for (int i = 0; i < 2; ++i) {
    client.Send(Head("POST /closed", 3) + "abc" + Head("POST /echo", 1) + "x");
    const TestHttpResponse refused = client.Receive();
    EXPECT_EQ(refused.status, 401);
    EXPECT_EQ(refused.body, "no");
    EXPECT_NE(refused.Header("Connection"), "close");
    EXPECT_EQ(client.Receive().body, "POST x");
  }
}

TEST_F(HttpBodiesTest, ABodyThatNobodyReadsIsDroppedAsItComes) {
  Serve({.body_bytes = kFree + 1000, .total_body_bytes = 10});
  TestHttpClient client(server_->port());
  for (const char* method : {"POST", "GET"}) {
    client.Send(absl::StrCat(method, " /bodiless HTTP/1.1\r\nHost: t\r\nContent-Length: ",
                             kFree + 1000, "\r\nExpect: 100-continue\r\n\r\n"));
    ASSERT_TRUE(client.ReceiveUntil(" 100 "));
    client.Send(std::string(kFree + 1000, 'x'));
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, method + std::string(" ")) << "the connection goes on behind it";
  }
  EXPECT_EQ(StatusOf(Head("POST /bodiless", kFree + 1001)), 413);
}

}  // namespace
}  // namespace baton::gateway
