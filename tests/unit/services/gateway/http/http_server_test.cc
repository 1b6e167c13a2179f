// The HTTP server over real sockets on 127.0.0.1, with calls made for the test.
#include "services/gateway/http/http_server.h"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/http/parsed_request.h"
#include "tests/fakes/http_test_client.h"

namespace baton::gateway {
namespace {

// What the calls of a test have seen.
struct Record {
  absl::Notification disconnected;
  absl::Notification writable;
  absl::Notification started;
};

// /echo answers with method and body; /stream writes `stream_bytes` and stops when full; /hang
// never answers.
class TestCall final : public HttpCall {
 public:
  TestCall(HttpExchange& exchange, Record& record, size_t stream_bytes)
      : exchange_(exchange), record_(record), stream_bytes_(stream_bytes) {}

  void Start() override {
    const HttpRequest& request = exchange_.request();
    if (request.path == "/hang") {
      record_.started.Notify();
      return;
    }
    if (request.path == "/stream" || request.path == "/broken") {
      exchange_.StartStream(200, "text/plain", {});
      return WriteMore();
    }
    exchange_.Send(
        {.content_type = "text/plain", .body = absl::StrCat(request.method, " ", request.body)});
  }
  void OnDisconnect() override { record_.disconnected.Notify(); }
  void OnWritable() override {
    if (!record_.writable.HasBeenNotified()) record_.writable.Notify();
    WriteMore();
  }
  void Abort(const absl::Status& reason) override {
    exchange_.Send({.status = 503, .body = std::string(reason.message())});
  }

 private:
  void WriteMore() {
    while (written_ < stream_bytes_) {
      exchange_.Write(std::string(1000, 'x'));
      written_ += 1000;
      if (exchange_.unsent_bytes() >= exchange_.max_unsent_bytes()) return;
    }
    if (exchange_.request().path == "/broken") return exchange_.BreakStream();
    exchange_.EndStream();
  }

  HttpExchange& exchange_;
  Record& record_;
  const size_t stream_bytes_;
  size_t written_ = 0;
};

class HttpServerTest : public testing::Test, public HttpRouter {
 protected:
  void Serve(HttpLimits limits = {}) {
    auto server =
        HttpServer::Create({.host = "127.0.0.1", .port = 0, .limits = limits}, loop_, *this);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  void TearDown() override { server_.reset(); }

  std::unique_ptr<HttpCall> Route(HttpExchange& exchange) override {
    return std::make_unique<TestCall>(exchange, record_, stream_bytes_);
  }
  HttpResponse Refuse(int status, absl::string_view message) override {
    return {.status = status, .content_type = "text/plain", .body = std::string(message)};
  }

  bool wants_records() const override { return true; }
  void OnExchangeEnd(const HttpRequest& request, const ExchangeRecord& record) override {
    absl::MutexLock lock(&mutex_);
    exchanges_.push_back({request.path, record});
  }

  int StatusOf(const std::string& bytes) {
    TestHttpClient client(server_->port());
    client.Send(bytes);
    return client.Receive().status;
  }

  EventLoop loop_;
  Record record_;
  size_t stream_bytes_ = 3000;
  absl::Mutex mutex_;
  std::vector<std::pair<std::string, ExchangeRecord>> exchanges_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;
};

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
  ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&all_told), absl::Seconds(10)));
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

TEST_F(HttpServerTest, RefusesFramingThatCanBeReadInTwoWays) {
  Serve();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\n";
  const std::string chunks = "\r\n3\r\nabc\r\n0\r\n\r\n";
  EXPECT_EQ(StatusOf(head + "Transfer-Encoding: CHUNKED\r\n" + chunks), 200);
  for (const std::string fields :
       {"Transfer-Encoding: gzip\r\n", "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding:\r\n", "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(StatusOf(head + fields + chunks), 400) << fields;
  }
}

TEST(HasFoldedLine, LooksAtTheHeaderAndNotBehindIt) {
  EXPECT_TRUE(HasFoldedLine("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n"));
  EXPECT_TRUE(HasFoldedLine("Transfer-Encoding:\r\n\tchunked\r\nX"));
  EXPECT_FALSE(HasFoldedLine("X: a\r\nY: b"));
  EXPECT_FALSE(HasFoldedLine("X: a\r\n\r\n\r\n b"));
  EXPECT_FALSE(HasFoldedLine("\r\n a\r\n b"));
}

TEST_F(HttpServerTest, SeesFoldedLinesHoweverTheyArrive) {
  Serve();
  const std::string head = "POST / HTTP/1.1\r\nHost: t\r\n";
  const std::string folded =
      head + "Transfer-Encoding:\r\n chunked\r\nX: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  const std::string clear = head + "Content-Length: 8\r\n\r\n a\r\n b\r\n";
  for (const auto& [request, status] : {std::pair(folded, 400), std::pair(clear, 200)}) {
    for (size_t cut = 1; cut < request.size(); ++cut) {
      // The first part comes with a request, so that it has been read when that is answered.
      TestHttpClient client(server_->port());
      client.Send("GET / HTTP/1.1\r\nHost: t\r\n\r\n" + request.substr(0, cut));
      ASSERT_EQ(client.Receive().status, 200);
      client.Send(request.substr(cut));
      EXPECT_EQ(client.Receive().status, status) << request.substr(0, cut);
    }
    TestHttpClient client(server_->port());
    for (char c : request) client.Send(std::string(1, c));
    EXPECT_EQ(client.Receive().status, status) << request;
  }
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
  EXPECT_FALSE(client.ReceiveUntil("GET "));
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

TEST_F(HttpServerTest, RefusesMalformedAndAmbiguousRequests) {
  Serve();
  EXPECT_EQ(StatusOf("NONSENSE\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: t\r\nX: folded\r\n into two\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n Host: t\r\nHost: t\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
                     "Content-Length: 4\r\n\r\nabcd"),
            400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            400);
}

TEST_F(HttpServerTest, RefusesWhatIsTooLarge) {
  Serve();
  EXPECT_EQ(StatusOf("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: t\r\n\r\n"), 414);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: t\r\nX: " + std::string(40000, 'a') + "\r\n\r\n"),
            431);
  std::string fields;
  for (int i = 0; i < 101; ++i) absl::StrAppend(&fields, "X", i, ": y\r\n");
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: t\r\n" + fields + "\r\n"), 431);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4194305\r\n\r\n"), 413);
}

TEST_F(HttpServerTest, RefusesAChunkedBodyOnceItIsTooLarge) {
  Serve({.body_bytes = 1000});
  TestHttpClient client(server_->port());
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) client.Send("64\r\n" + std::string(100, 'x') + "\r\n");
  EXPECT_EQ(client.Receive().status, 413);
}

TEST_F(HttpServerTest, TheRefusalOfALargeBodyArrivesAlthoughTheBodyIsSent) {
  Serve({.body_bytes = 1000});
  TestHttpClient client(server_->port());
  client.SendRequest("POST", "/echo", std::string(3 << 20, 'x'));
  EXPECT_EQ(client.Receive().status, 413);
}

TEST_F(HttpServerTest, TimesOutSlowHeadersAndBodies) {
  Serve({.header_timeout = absl::Milliseconds(50), .body_timeout = absl::Milliseconds(50)});
  EXPECT_EQ(StatusOf("GET / HT"), 408);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc"), 408);
}

TEST_F(HttpServerTest, ClosesIdleConnections) {
  Serve({.idle_timeout = absl::Milliseconds(50)});
  EXPECT_TRUE(TestHttpClient(server_->port()).ClosedByPeer());
}

TEST_F(HttpServerTest, RefusesConnectionsOverTheLimit) {
  Serve({.connections = 1});
  TestHttpClient first(server_->port());
  first.SendRequest("GET", "/echo");
  EXPECT_EQ(first.Receive().status, 200);
  TestHttpClient second(server_->port());
  EXPECT_EQ(second.Receive().status, 503);
}

TEST_F(HttpServerTest, RefusalsAreBoundedToo) {
  Serve({.connections = 1});
  std::vector<std::unique_ptr<TestHttpClient>> clients;
  for (int i = 0; i < 400; ++i) {
    clients.push_back(std::make_unique<TestHttpClient>(server_->port()));
    EXPECT_LE(server_->num_connections(), 257u);
  }
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
  Serve({.body_bytes = kBodyBytes});
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
  EXPECT_TRUE(record_.disconnected.WaitForNotificationWithTimeout(absl::Seconds(10)));
}

TEST_F(HttpServerTest, TellsACallThatItsClientIsGone) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/hang");
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(10)));
  client.Close();
  EXPECT_TRUE(record_.disconnected.WaitForNotificationWithTimeout(absl::Seconds(10)));
}

TEST_F(HttpServerTest, AbortEndsRunningCalls) {
  Serve();
  TestHttpClient client(server_->port());
  client.SendRequest("GET", "/hang");
  ASSERT_TRUE(record_.started.WaitForNotificationWithTimeout(absl::Seconds(10)));
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
