// What the HTTP server refuses: framing in two readings, sizes, slowness, numbers.
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "services/gateway/http/http_server.h"
#include "services/gateway/http/parsed_request.h"
#include "tests/fakes/http_test_client.h"
#include "tests/unit/services/gateway/http/http_server_fixture.h"

namespace baton::gateway {
namespace {

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

TEST_F(HttpServerTest, RefusesAChunkWhoseLineDoesNotEnd) {
  Serve({.body_timeout = absl::Hours(1), .body_window = absl::Hours(1)});
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string begun : {"1;", "3\r\nabc\r\n1;", "0", "3\r\nabc\r\n0;a=\""}) {
    EXPECT_EQ(StatusOf(head + begun + std::string(100'000, 'a')), 400) << begun;
    EXPECT_EQ(StatusOf(head + begun.substr(0, begun.size() - 1) + std::string(100'000, '0')), 400)
        << begun;
  }
}

TEST_F(HttpServerTest, RefusesATrailerThatDoesNotEnd) {
  Serve({.body_timeout = absl::Hours(1), .body_window = absl::Hours(1)});
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string begun : {"0\r\nX: ", "3\r\nabc\r\n0\r\nX: ", "0;a=b\r\nX: 1\r\nY: "}) {
    EXPECT_EQ(StatusOf(head + begun + std::string(100'000, 'a')), 431) << begun;
  }
  std::string fields;
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&fields, "X: y\r\n");
  EXPECT_EQ(StatusOf(head + "0\r\n" + fields), 431);
}

TEST_F(HttpServerTest, RefusesTooManyTrailerFields) {
  Serve();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string fields;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&fields, "X: y\r\n");
  EXPECT_EQ(StatusOf(head + "0\r\n" + fields + "\r\n"), 200);
  EXPECT_EQ(StatusOf(head + "0\r\n" + fields + "X: y\r\n\r\n"), 431);
}

TEST_F(HttpServerTest, TrailersAreNoHeaders) {
  Serve();
  const std::string head = "POST /fields HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n";
  const std::string fields =
      "Authorization: Bearer k\r\nX-Api-Key: k\r\nX-Request-Id: i\r\nX-Request-Timeout: 1\r\n"
      "X-Vllm-Priority: 2\r\nOrigin: http://o\r\nTraceparent: p\r\nTracestate: s\r\n"
      "Content-Type: t/t\r\n";
  const std::string last = "\r\n3\r\nabc\r\n0\r\n";
  TestHttpClient client(server_->port());
  client.Send(head + fields + last + "\r\n");
  EXPECT_EQ(client.Receive().body, "Bearer k|k|i|1|2|http://o|p|s|t/t");
  client.Send(head + last + fields + "Connection: close\r\nHost: other\r\n\r\n");
  EXPECT_EQ(client.Receive().body, "||||||||");
  client.SendRequest("GET", "/echo");
  EXPECT_EQ(client.Receive().status, 200) << "the trailer closed the connection";
}

TEST_F(HttpServerTest, WhatTheRouterRefusesIsAnsweredBeforeItsBody) {
  Serve({.body_timeout = absl::Hours(1), .body_window = absl::Hours(1)});
  const std::string head = "POST /closed HTTP/1.1\r\nHost: t\r\n";
  for (const std::string begun : {"Content-Length: 9\r\n\r\n", "Content-Length: 9\r\n\r\nabc",
                                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                                  "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"}) {
    TestHttpClient client(server_->port());
    client.Send(head + begun);
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(response.status, 401) << begun;
    EXPECT_EQ(response.head.find(" 100 "), std::string::npos);
    EXPECT_EQ(response.Header("Connection"), "close");
    EXPECT_TRUE(client.ClosedByPeer());
  }
}

TEST_F(HttpServerTest, TheRefusalOfALargeBodyArrivesAlthoughTheBodyIsSent) {
  Serve({.body_bytes = 1000});
  TestHttpClient client(server_->port());
  client.SendRequest("POST", "/echo", std::string(3 << 20, 'x'));
  EXPECT_EQ(client.Receive().status, 413);
}

// A slow line: it sends for longer than a silent client is waited for. Were the connection closed
// meanwhile, what is sent then would reset it, and the answer on its way would be lost. A machine
// that stands still makes the client silent: it has some attempts.
TEST_F(HttpServerTest, TheRefusalArrivesHoweverLongTheBodyIsSentBehindIt) {
  constexpr absl::Duration kLinger = absl::Milliseconds(200);
  Serve({.body_bytes = 1000, .linger_timeout = kLinger});
  const std::string piece(64 << 10, 'x');
  bool stayed_open = false;
  for (int attempt = 0; attempt < 5 && !stayed_open; ++attempt) {
    TestHttpClient client(server_->port());
    client.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000000\r\n\r\n");
    const absl::Time end = absl::Now() + 3 * kLinger;
    while (absl::Now() < end) client.Send(piece);
    stayed_open = server_->num_connections() == 1;
    EXPECT_EQ(client.Receive().status, 413);
    client.Close();
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (server_->num_connections() > 0) {  // it is closed, too
      ASSERT_LT(absl::Now(), deadline);
    }
  }
  EXPECT_TRUE(stayed_open);
}

TEST_F(HttpServerTest, TimesOutSlowHeadersAndBodies) {
  Serve({.header_timeout = absl::Milliseconds(50), .body_timeout = absl::Milliseconds(50)});
  EXPECT_EQ(StatusOf("GET / HT"), 408);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc"), 408);
}

TEST_F(HttpServerTest, TimesOutBodiesThatComeTooSlowly) {
  const std::string begun = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc";
  Serve({.body_timeout = absl::Hours(1), .body_window = absl::Milliseconds(20)});
  EXPECT_EQ(StatusOf(begun), 408) << "20 bytes were to come in 20 ms";
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

}  // namespace
}  // namespace baton::gateway
