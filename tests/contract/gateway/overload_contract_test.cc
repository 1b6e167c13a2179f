// What clients see when their requests cannot be taken, or not in time.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/http/body_budget.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class OverloadContract : public GatewayFixture {};

// A request's time that passes while its scheduler holds it: long enough to get there, and for its
// first token, on a machine where others have the processors.
constexpr absl::Duration kDeadline = absl::Seconds(2);

TEST_F(OverloadContract, NotReadyIs503WithRetryAfter) {
  StartGateway(nullptr, {.model_fingerprint = "of another model"});
  const TestHttpResponse response = Post("/v1/chat/completions", ChatBody());
  ErrorOf(response, 503);
  EXPECT_NE(response.Header("Retry-After"), "");
  AwaitReady(503);
  EXPECT_EQ(Get("/health/live").status, 200);
}

TEST_F(OverloadContract, MoreRequestsThanSlotsAre503) {
  StartGateway([](GatewayConfig& config) { config.max_num_requests = 1; });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient first(http_port());
  first.SendRequest("POST", "/v1/chat/completions", ChatBody().dump());
  ASSERT_TRUE(scheduler().WaitForRequests(1));
  const json error = ErrorOf(Post("/v1/chat/completions", ChatBody()), 503);
  EXPECT_EQ(error["code"], "server_is_overloaded");
}

TEST_F(OverloadContract, MoreBytesOfBodiesThanMayBeAre503) {
  StartGateway([](GatewayConfig& config) {
    config.http.limits.body_bytes = 1 << 20;
    config.http.limits.total_body_bytes = 1 << 20;
  });
  AwaitReady(200);
  const std::string head =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n";
  TestHttpClient first(http_port());
  first.Send(head + std::string(900'000, ' '));
  AwaitMetric("baton_gateway_body_bytes", 900'000 - BodyHold::kFreeBytes);
  TestHttpClient second(http_port());
  second.Send(head + std::string(200'000, ' '));
  const TestHttpResponse refused = second.Receive();
  const json error = ErrorOf(refused, 503);
  EXPECT_EQ(error["code"], "server_is_overloaded");
  EXPECT_EQ(error["type"], "service_unavailable_error");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("--max-total-body-mib"));
  EXPECT_NE(refused.Header("Retry-After"), "");
  EXPECT_EQ(refused.Header("x-should-retry"), "true");
  EXPECT_NE(refused.Header("X-Request-Id"), "");
  AwaitMetric("baton_gateway_body_refusals_total", 1);
  AwaitMetric("baton_gateway_body_bytes", 900'000 - BodyHold::kFreeBytes);
  EXPECT_EQ(Post("/v1/chat/completions", ChatBody()).status, 200) << "short ones still fit";
  first.Close();
  AwaitMetric("baton_gateway_body_bytes", 0);
  EXPECT_EQ(PostText("/v1/chat/completions", std::string(900'000, ' ') + ChatBody().dump()).status,
            200);
  AwaitMetric("baton_gateway_body_bytes", 0);
}

TEST_F(OverloadContract, LargeBodiesOfOneKeyLeaveRoomForAnother) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"one", "two"};
    config.http.limits.body_bytes = 1 << 20;
    config.http.limits.total_body_bytes = 1 << 20;
  });
  AwaitReady(200);
  TestHttpClient first(http_port());
  first.Send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer one\r\n"
      "Content-Length: 1000000\r\n\r\n" +
      std::string(900'000, ' '));
  const auto status_of = [&](const std::string& key) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions",
                       std::string(100'000, ' ') + ChatBody().dump(),
                       absl::StrCat("Authorization: Bearer ", key, "\r\n"));
    return client.Receive().status;
  };
  // All of the first must have come before another one may be what takes the room.
  AwaitMetric("baton_gateway_body_bytes", 900'000 - BodyHold::kFreeBytes);
  EXPECT_EQ(status_of("one"), 503);
  EXPECT_EQ(status_of("two"), 200);
}

// A probe's body is nobody's, and no reason to hold it.
TEST_F(OverloadContract, BodiesThatNoCallReadsAreNotHeld) {
  StartGateway([](GatewayConfig& config) { config.http.limits.total_body_bytes = 1; });
  AwaitReady(200);
  for (const char* request : {"POST /ping", "GET /ping", "GET /health", "GET /v1/models",
                              "GET /v1/models/tiny-r1", "GET /metrics", "GET /"}) {
    TestHttpClient client(http_port());
    client.Send(absl::StrCat(request,
                             " HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n"
                             "Expect: 100-continue\r\n\r\n"));
    ASSERT_TRUE(client.ReceiveUntil(" 100 ")) << request;
    client.Send(std::string(100'000, 'x'));
    EXPECT_EQ(client.Receive().status, 200) << request;
    client.Send(absl::StrCat(request, " HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n",
                             std::string(100'000, 'x')));
    EXPECT_EQ(client.Receive().status, 200) << request << ", its body with its header";
  }
  EXPECT_EQ(Post("/tokenize", {{"prompt", "x"}}).status, 200);
  EXPECT_EQ(Post("/tokenize", {{"prompt", std::string(20'000, 'x')}}).status, 503);
  EXPECT_EQ(PostText("/v1/none", std::string(100'000, 'x')).status, 404);
  AwaitMetric("baton_gateway_body_refusals_total", 1);
}

TEST_F(OverloadContract, DeadlineIs504) {
  StartGateway([](GatewayConfig& config) { config.request_timeout = kDeadline; });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  ErrorOf(Post("/v1/chat/completions", ChatBody()), 504);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
}

TEST_F(OverloadContract, AClientsOwnTimeoutIs504) {
  StartGateway();
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                     absl::StrCat("X-Request-Timeout: ", absl::ToDoubleSeconds(kDeadline), "\r\n"));
  EXPECT_EQ(ErrorOf(client.Receive(), 504)["code"], "deadline_exceeded");
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
}

TEST_F(OverloadContract, ATimeoutAfterTheFirstTokenIsAnErrorEvent) {
  StartGateway();
  AwaitReady(200);
  scheduler().HoldAfter(2);
  json request = ChatBody();
  request["stream"] = true;
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", request.dump(),
                     absl::StrCat("X-Request-Timeout: ", absl::ToDoubleSeconds(kDeadline), "\r\n"));
  const TestHttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.Events().back(), HasSubstr("deadline_exceeded"));
}

TEST_F(OverloadContract, AFullQueueIs503WithTheSchedulersTimeToRetry) {
  StartGateway();
  AwaitReady(200);
  scheduler().PushAnswer(
      {.status = absl::ResourceExhaustedError("9 requests wait already"), .retry_after_ms = 7400});
  const TestHttpResponse response = Post("/v1/chat/completions", ChatBody());
  EXPECT_EQ(ErrorOf(response, 503)["code"], "server_is_overloaded");
  EXPECT_EQ(response.Header("Retry-After"), "8");
  EXPECT_EQ(response.Header("retry-after-ms"), "7400");
}

// The gate stays closed for as long as the test takes.
class EarlyRefusals : public OverloadContract {
 protected:
  EarlyRefusals() {
    StartGateway([](GatewayConfig& config) {
      config.api_keys.keys = {"flood", "other"};
      config.early_refusal_time = absl::Hours(1);
      config.api_keys.limits.best_priority = -1;
    });
    AwaitReady(200);
    scheduler().PushAnswer({.status = absl::ResourceExhaustedError("9 requests wait already"),
                            .retry_after_ms = 7400,
                            .closed_for_us = 3'600'000'000});
    EXPECT_EQ(Send("flood", ShortBody().dump()).status, 503);
  }

  // Its answer has one token. Without a limit it would have as many as fit, 4,000, which take
  // longer on a busy machine than a client of these tests waits.
  static json ShortBody() {
    json body = ChatBody();
    body["max_tokens"] = 1;
    return body;
  }

  TestHttpResponse Send(const std::string& key, const std::string& body,
                        const std::string& headers = "") {
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", body,
                       absl::StrCat("Authorization: Bearer ", key, "\r\n", headers));
    return client.Receive();
  }
};

TEST_F(EarlyRefusals, AreAnsweredAsTheSchedulerWouldWithoutAskingIt) {
  const TestHttpResponse response = Send("flood", ShortBody().dump());
  EXPECT_EQ(ErrorOf(response, 503)["code"], "server_is_overloaded");
  EXPECT_EQ(ErrorOf(response, 503)["message"], "9 requests wait already");
  const int retry_ms = std::stoi(response.Header("retry-after-ms"));
  EXPECT_GE(retry_ms, 6600);
  EXPECT_LE(retry_ms, 8200);
  EXPECT_EQ(scheduler().requests().size(), 1u);
  TestHttpClient client(http_port());
  client.SendRequest("GET", "/metrics", "", "Authorization: Bearer other\r\n");
  EXPECT_THAT(client.Receive().body,
              HasSubstr("baton_gateway_early_refusals_total{engine=\"0\",model_name="));
}

TEST_F(EarlyRefusals, ComeBeforeTheBodyIsLookedAt) {
  EXPECT_EQ(Send("flood", "this is no JSON").status, 503);
  EXPECT_EQ(Send("other", "this is no JSON").status, 400);
}

TEST_F(EarlyRefusals, KeepTheConnection) {
  TestHttpClient client(http_port());
  for (int i = 0; i < 3; ++i) {
    client.SendRequest("POST", "/v1/chat/completions", ShortBody().dump(),
                       "Authorization: Bearer flood\r\n");
    EXPECT_EQ(client.Receive().status, 503);
  }
  client.SendRequest("POST", "/v1/chat/completions", ShortBody().dump(),
                     "Authorization: Bearer other\r\n");
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(EarlyRefusals, AreNotForOtherKeysNorForBetterPriorities) {
  EXPECT_EQ(Send("other", ShortBody().dump()).status, 200);
  json urgent = ShortBody();
  urgent["priority"] = -1;
  EXPECT_EQ(Send("flood", urgent.dump()).status, 200);
  EXPECT_EQ(scheduler().requests().size(), 3u);
}

TEST_F(EarlyRefusals, AreForPrioritiesThatTheKeyMayNotHave) {
  scheduler().PushAnswer({.status = absl::ResourceExhaustedError("9 requests wait already"),
                          .retry_after_ms = 7400,
                          .closed_for_us = 3'600'000'000});
  const std::string body = ShortBody().dump();
  EXPECT_EQ(Send("flood", body, "X-Vllm-Priority: -1\r\n").status, 503);
  EXPECT_EQ(scheduler().requests().size(), 2u);
  EXPECT_EQ(Send("flood", body, "X-Vllm-Priority: -2\r\n").status, 503);
  EXPECT_EQ(scheduler().requests().size(), 2u) << "it is no better than the last";
}

}  // namespace
}  // namespace baton::gateway
