// How the HTTP server carries exchanges.
#include "services/gateway/http/http_server.h"

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/http_test_client.h"
#include "tests/unit/services/gateway/http/http_server_fixture.h"

namespace baton::gateway {
namespace {

TEST_F(HttpServerTest, TellsHowEachExchangeWent) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("POST", "/echo", "one");
  client.Receive();
  client.SendRequest("GET", "/broken");
  client.Receive();
  EXPECT_EQ(StatusOf("nonsense\r\n\r\n"), 400);
  absl::MutexLock lock(&mutex_);
  const auto all_told = [this]()
                            ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return exchanges_.size() == 3; };
  ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&all_told), absl::Seconds(30)));
  const auto& seen = exchanges_;
  EXPECT_EQ(seen[0].first, "/echo");
  EXPECT_EQ(seen[0].second.status, 200);
  EXPECT_EQ(seen[0].second.body_bytes, 8u);
  EXPECT_EQ(seen[0].second.peer.substr(0, 10), "127.0.0.1:");
  EXPECT_TRUE(seen[0].second.complete);
  EXPECT_FALSE(seen[1].second.complete);
  EXPECT_EQ(seen[1].second.body_bytes, 3000u);
  EXPECT_EQ(seen[2].second.status, 400);
}

TEST_F(HttpServerTest, KeepsAConnectionForSeveralRequests) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("POST", "/echo", "one");
  EXPECT_EQ(client.Receive().body, "POST one");
  client.SendRequest("GET", "/echo");
  EXPECT_EQ(client.Receive().body, "GET ");
  EXPECT_EQ(server_->num_connections(), 1u);
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  Serve();
  TestHttpClient client(server_->port());
  std::string requests;
  for (int i = 0; i < 5; ++i) {
    requests += absl::StrCat("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n", i);
  }
  client.Send(requests);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.Receive().body, absl::StrCat("POST ", i));
}

TEST_F(HttpServerTest, ReadsARequestByteByByte) {
  Serve();
  TestHttpClient client(server_->port());
  const std::string request = "\r\nPOST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc";
  for (char c : request) client.Send(std::string(1, c));
  EXPECT_EQ(client.Receive().body, "POST abc");
}

TEST_F(HttpServerTest, ReadsChunkedBodies) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send(
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n");
  EXPECT_EQ(client.Receive().body, "POST abc");
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send("HEAD /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(client.ReceiveUntil("\r\n\r\n"));
  EXPECT_FALSE(client.ReceiveUntil("HEAD "));
}

TEST_F(HttpServerTest, ContinuesWhenAsked) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send(
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(client.ReceiveUntil("100 Continue"));
  client.Send("abc");
  EXPECT_EQ(client.Receive().body, "POST abc");
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: magic\r\n\r\n"),
            417);
}

TEST_F(HttpServerTest, StreamsInChunksAndKeepsTheConnection) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/stream");
  const TestHttpResponse response = client.Receive();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body.size(), 3000u);
  client.SendRequest("GET", "/echo");
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(HttpServerTest, WaitsForWhatASlowReaderHasNotTaken) {
  constexpr size_t kBodyBytes = 32 << 20;  // more than the kernel buffers
  Serve({.body_bytes = kBodyBytes, .body_timeout = absl::Minutes(5)});
  EXPECT_TRUE(server_->AwaitSent(absl::InfiniteFuture())) << "nothing to send";
  TestHttpClient client(server_->port());
  client.SendRequest("POST", "/echo", std::string(kBodyBytes, 'x'));
  ASSERT_TRUE(client.ReceiveUntil("\r\n\r\n"));  // the answer is complete, its body on the way
  EXPECT_FALSE(server_->AwaitSent(absl::Now()));
  std::thread shutdown([this] {
    EXPECT_TRUE(server_->AwaitSent(absl::InfiniteFuture()));
    server_.reset();
  });
  const TestHttpResponse response = client.Receive();
  shutdown.join();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body.size(), kBodyBytes + std::string("POST ").size());
}

TEST_F(HttpServerTest, DoesNotWaitForReadersThatLeave) {
  constexpr size_t kBodyBytes = 32 << 20;
  Serve({.body_bytes = kBodyBytes});
  auto client = std::make_unique<TestHttpClient>(server_->port());
  client->SendRequest("POST", "/echo", std::string(kBodyBytes, 'x'));
  ASSERT_TRUE(client->ReceiveUntil("\r\n\r\n"));
  client.reset();
  EXPECT_TRUE(server_->AwaitSent(absl::InfiniteFuture()));
}

TEST_F(HttpServerTest, Http10StreamsUntilClose) {
  Serve();
  TestHttpClient client(server_->port());
  client.Send("GET /stream HTTP/1.0\r\n\r\n");
  const TestHttpResponse response = client.Receive();
  EXPECT_EQ(response.Header("Transfer-Encoding"), "");
  EXPECT_EQ(response.body.size(), 3000u);
}

TEST_F(HttpServerTest, ABrokenStreamNeverLooksComplete) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/broken");
  const TestHttpResponse response = client.Receive();
  EXPECT_FALSE(response.complete);
  EXPECT_EQ(response.body.size(), 3000u);
}

TEST_F(HttpServerTest, ASlowReaderHoldsTheWriterAndLosesNothing) {
  stream_bytes_ = 16 << 20;  // far beyond what the kernel takes at once
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/stream");
  ASSERT_TRUE(client.ReceiveUntil("xxx"));
  const TestHttpResponse response = client.Receive();
  EXPECT_TRUE(response.complete);
  EXPECT_GE(response.body.size(), stream_bytes_);
  EXPECT_TRUE(record_.writable.HasBeenNotified());
}

TEST_F(HttpServerTest, AClientThatNeverReadsIsDropped) {
  stream_bytes_ = 64 << 20;
  Serve({.write_timeout = absl::Milliseconds(100)});
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/stream");
  EXPECT_TRUE(record_.disconnected.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_EQ(record_.departure, Departure::kStalled);
}

TEST_F(HttpServerTest, TellsACallThatItsClientIsGone) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/hang");
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(30)));
  client.Close();
  EXPECT_TRUE(record_.disconnected.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_EQ(record_.departure, Departure::kClosed);
}

TEST_F(HttpServerTest, AbortEndsRunningCalls) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/hang");
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(30)));
  server_->AbortCalls(absl::UnavailableError("bye"));
  const TestHttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "bye");
}

TEST_F(HttpServerTest, TheAddressThatCannotBeBoundIsNamed) {
  Serve();
  const auto second = HttpServer::Create(
      {.host = "127.0.0.1", .port = server_->port(), .limits = {}}, loop_, *this);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              testing::HasSubstr(absl::StrCat(server_->port())));
}

}  // namespace
}  // namespace baton::gateway
