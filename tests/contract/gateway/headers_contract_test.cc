// What stands in the headers of requests and answers beside the API's own: names, traces, sites.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class HeadersContract : public GatewayFixture {
 protected:
  void Serve(const std::function<void(GatewayConfig&)>& adjust = nullptr) {
    StartGateway(adjust);
    AwaitReady(200);
  }
  TestHttpResponse Send(const std::string& method, const std::string& path,
                        const std::string& headers, const std::string& body = "") {
    TestHttpClient client(http_port());
    client.SendRequest(method, path, body, headers);
    return client.Receive();
  }
};

TEST_F(HeadersContract, RequestsKeepTheirNames) {
  Serve();
  Answer("</think>x");
  const std::string chat = "/v1/chat/completions";
  TestHttpResponse response = Send("POST", chat, "X-Request-Id: mine-1\r\n", ChatBody().dump());
  EXPECT_EQ(response.Header("X-Request-Id"), "mine-1");
  EXPECT_EQ(json::parse(response.body)["id"], "chatcmpl-mine-1");
  EXPECT_EQ(Send("GET", "/v1/models", "X-Request-Id: mine-2\r\n").Header("X-Request-Id"), "mine-2");
  EXPECT_EQ(Send("GET", "/nowhere", "X-Request-Id: mine-3\r\n").Header("X-Request-Id"), "mine-3");
  EXPECT_EQ(Send("GET", "/v1/models", "X-Request-Id: a b\r\n").Header("X-Request-Id"), "a b");
  EXPECT_EQ(Send("GET", "/health", "X-Request-Id: mine-4\r\n").Header("X-Request-Id"), "mine-4");
  // In streams, in refusals of what is no request, and where the name cannot be the answer's.
  json streamed = ChatBody();
  streamed["stream"] = true;
  Answer("</think>x");
  response = Send("POST", chat, "X-Request-Id: mine-5\r\n", streamed.dump());
  EXPECT_EQ(response.Header("X-Request-Id"), "mine-5");
  TestHttpClient client(http_port());
  client.Send(
      "POST / HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine-6\r\nTransfer-Encoding: gzip\r\n\r\n");
  response = client.Receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.Header("X-Request-Id"), "mine-6");
  Answer("</think>x");
  response = Send("POST", chat, "X-Request-Id: a b\r\n", ChatBody().dump());
  EXPECT_EQ(response.Header("X-Request-Id"), "a b");
  EXPECT_THAT(json::parse(response.body)["id"].get<std::string>(),
              testing::StartsWith("chatcmpl-"));
}

TEST_F(HeadersContract, AnswersToRequestsWithoutNamesHaveOne) {
  Serve();
  const std::string first = Get("/v1/models").Header("X-Request-Id");
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(Get("/v1/models").Header("X-Request-Id"), first);
  EXPECT_NE(Get("/nowhere").Header("X-Request-Id"), "");
  EXPECT_NE(Post("/v1/chat/completions", {{"messages", 1}}).Header("X-Request-Id"), "");
  Answer("</think>x");
  const TestHttpResponse response = Post("/v1/chat/completions", ChatBody());
  EXPECT_EQ(json::parse(response.body)["id"], "chatcmpl-" + response.Header("X-Request-Id"));
}

TEST_F(HeadersContract, TracesReachTheScheduler) {
  Serve();
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const std::string& sent : {trace, std::string("00-XYZ-1-01"), std::string()}) {
    Answer("</think>x");
    const std::string header = sent.empty() ? "" : "traceparent: " + sent + "\r\n";
    EXPECT_EQ(Send("POST", "/v1/chat/completions", header, ChatBody().dump()).status, 200);
  }
  EXPECT_THAT(scheduler().traceparents(), testing::ElementsAre(trace, "", ""));
}

TEST_F(HeadersContract, PagesOfOtherSitesMayCallUnlessTheFlagsSayOtherwise) {
  Serve();
  TestHttpResponse response = Send("GET", "/v1/models", "Origin: https://a.example\r\n");
  EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(Send("GET", "/v1/models", "").Header("Access-Control-Allow-Origin"), "");
  const std::string ask =
      "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: authorization, x-other\r\n";
  response = Send("OPTIONS", "/v1/chat/completions", ask);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "*");
  EXPECT_THAT(response.Header("Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_EQ(response.Header("Access-Control-Allow-Headers"), "authorization, x-other");
  EXPECT_EQ(Send("OPTIONS", "/v1/chat/completions", "").status, 405) << "no preflight";
  StopGateway();
  Serve([](GatewayConfig& config) {
    config.cors = {.origins = {"https://b.example"}, .methods = {"GET"}, .headers = {"X-Other"}};
  });
  response = Send("OPTIONS", "/v1/chat/completions", ask);
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, "Disallowed CORS origin, method, headers");
  EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "");
  // What a page may always send.
  response = Send("OPTIONS", "/v1/models",
                  "Origin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n"
                  "Access-Control-Request-Headers: content-type, accept, x-other\r\n");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Access-Control-Allow-Headers"),
            "Accept, Accept-Language, Content-Language, Content-Type, X-Other");
  response = Send("GET", "/v1/models", "Origin: https://b.example\r\n");
  EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "https://b.example");
  EXPECT_EQ(response.Header("Vary"), "Origin");
}

TEST_F(HeadersContract, FiguresStandOnTheirOwnPortAloneIfTheFlagSaysSo) {
  Serve([](GatewayConfig& config) { config.public_metrics = false; });
  ErrorOf(Get("/metrics"), 404);
}

}  // namespace
}  // namespace baton::gateway
