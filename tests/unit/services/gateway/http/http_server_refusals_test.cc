// Requests that are refused before they were read: one answer each, and nothing behind it is a
// request.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/http/http_server.h"
#include "tests/fakes/http_test_client.h"
#include "tests/unit/services/gateway/http/http_server_fixture.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

constexpr char kComplete[] = "GET /echo HTTP/1.1\r\nHost: t\r\n\r\n";

std::string Post(const std::string& path, const std::string& fields) {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: t\r\n", fields, "\r\n");
}

class HttpRefusalTest : public HttpServerTest {
 protected:
  static constexpr HttpLimits kLimits = {.request_line_bytes = 200,
                                         .header_bytes = 400,
                                         .header_fields = 3,
                                         .body_bytes = 1000,
                                         .total_body_bytes = 1000,
                                         .body_timeout = absl::Hours(1),
                                         .body_window = absl::Hours(1),
                                         .linger_timeout = absl::Hours(1)};

  // Requests, and what they are refused with.
  static std::vector<std::pair<std::string, int>> Refused() {
    return {{Post("/closed", "Content-Length: 900\r\n"), 401},
            {Post("/closed", "Transfer-Encoding: chunked\r\n") + "384\r\n", 401},
            {Post("/echo", "Content-Length: 1001\r\n"), 413},
            {Post("/echo", "Transfer-Encoding: chunked\r\n") + "3e9\r\n", 413},
            {Post("/" + std::string(200, 'a'), "Content-Length: 900\r\n"), 414},
            {"POST /" + std::string(500, 'a'), 431},
            {Post("/echo", "A: b\r\nB: c\r\nContent-Length: 900\r\n"), 431},
            {Post("/echo", "Content-Length: 900\r\nTransfer-Encoding: chunked\r\n"), 400},
            {Post("/echo", "Expect: more\r\nContent-Length: 900\r\n"), 417}};
  }
};

TEST_F(HttpRefusalTest, ARequestInARefusedBodyIsNotAnswered) {
  Serve(kLimits);
  for (const bool at_once : {true, false}) {
    for (const auto& [request, status] : Refused()) {
      TestHttpClient client(server_->port());
      client.Send(at_once ? request + kComplete : request);
      const TestHttpResponse response = client.Receive();
      EXPECT_EQ(response.status, status) << request;
      EXPECT_EQ(response.Header("Connection"), "close") << request;
      if (!at_once) client.Send(kComplete);
      EXPECT_TRUE(client.ClosedByPeer()) << request;
    }
  }
  absl::MutexLock lock(&mutex_);
  EXPECT_EQ(exchanges_.size(), 2 * Refused().size());
}

TEST_F(HttpRefusalTest, ARefusedHeadGetsNoBody) {
  Serve(kLimits);
  for (auto& [request, status] : Refused()) {
    TestHttpClient client(server_->port());
    client.Send("HEAD" + request.substr(4) + kComplete);
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(response.status, status) << request;
    EXPECT_NE(response.Header("Content-Length"), "0") << request;
    EXPECT_EQ(response.body, "") << request;
  }
}

TEST_F(HttpRefusalTest, TheSecondRequestOfAConnectionIsRefusedAsTheFirst) {
  Serve(kLimits);
  const std::string first = Post("/echo", "Content-Length: 1\r\n") + "x";
  for (const bool pipelined : {true, false}) {
    for (const auto& [request, status] : Refused()) {
      TestHttpClient client(server_->port());
      client.Send(pipelined ? first + request + kComplete : first);
      EXPECT_EQ(client.Receive().body, "POST x");
      if (!pipelined) client.Send(request + kComplete);
      EXPECT_EQ(client.Receive().status, status) << request;
      EXPECT_TRUE(client.ClosedByPeer()) << request;
    }
  }
}

TEST_F(HttpRefusalTest, TextsNameTheFlagOfTheLimit) {
  Serve(kLimits);
  for (const auto& [request, flag] : std::vector<std::pair<std::string, std::string>>{
           {Post("/" + std::string(200, 'a'), ""), "at most 200 bytes (--max-request-line-bytes)"},
           {Post("/", "A: " + std::string(400, 'a') + "\r\n"),
            "at most 400 bytes (--max-header-bytes)"},
           {Post("/", "A: b\r\nB: c\r\nC: d\r\n"), "at most 3 fields (--max-header-fields)"},
           {Post("/", "Content-Length: 1001\r\n"), "at most 1000 bytes (--max-body-mib)"}}) {
    TestHttpClient client(server_->port());
    client.Send(request);
    EXPECT_THAT(client.Receive().body, HasSubstr(flag));
  }
}

TEST_F(HttpRefusalTest, TextsOfTimesNameTheirFlags) {
  const auto text = [this](const HttpLimits& limits, const std::string& begun) {
    server_.reset();
    Serve(limits);
    TestHttpClient client(server_->port());
    client.Send(begun);
    return client.Receive().body;
  };
  const std::string begun = Post("/echo", "Content-Length: 9\r\n") + "abc";
  constexpr absl::Duration kSoon = absl::Milliseconds(20);
  EXPECT_THAT(text({.header_timeout = kSoon}, "GET / HT"), HasSubstr("20ms (--header-timeout)"));
  EXPECT_THAT(text({.body_timeout = kSoon}, begun), HasSubstr("20ms (--body-timeout)"));
  EXPECT_THAT(text({.body_timeout = absl::Hours(1), .body_window = kSoon}, begun),
              HasSubstr("1024 bytes a second (--min-body-rate)"));
}

}  // namespace
}  // namespace baton::gateway
