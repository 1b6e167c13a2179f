// What an API key opens, and what it sets apart.
#include <atomic>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;

class ApiKeysContract : public GatewayFixture {};

TEST_F(ApiKeysContract, ApiKeysGuardTheApiButNotTheProbes) {
  StartGateway([](GatewayConfig& config) { config.api_keys.keys = {"first", "second"}; });
  ErrorOf(Get("/v1/models"), 401);
  TestHttpClient client(http_port());
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer second\r\n");
  EXPECT_EQ(client.Receive().status, 200);
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer seconds\r\n");
  ErrorOf(client.Receive(), 401);
  EXPECT_EQ(Get("/health/live").status, 200);
}

TEST_F(ApiKeysContract, AWrongKeyIsToldBeforeItsBodyComes) {
  StartGateway([](GatewayConfig& config) { config.api_keys.keys = {"first"}; });
  const auto ask = [this](const std::string& request_line, const std::string& key) {
    TestHttpClient client(http_port());
    client.Send(request_line + " HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\n" +
                "Authorization: Bearer " + key + "\r\nContent-Length: 4000000\r\n\r\n{");
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(response.Header("Connection"), "close");
    EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "*");
    return response;
  };
  ErrorOf(ask("POST /v1/chat/completions", "second"), 401);
  ErrorOf(ask("POST /v1/nothing", "second"), 401);
  ErrorOf(ask("POST /v1/nothing", "first"), 404);
  ErrorOf(ask("PUT /v1/chat/completions", "first"), 405);
}

TEST_F(ApiKeysContract, AKeysOwnLimitIs429) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"first", "second"};
    config.api_keys.limits.num_requests = 1;
  });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                      "Authorization: Bearer first\r\n");
  ASSERT_TRUE(scheduler().WaitForRequests(1));
  TestHttpClient again(http_port());
  again.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                    "Authorization: Bearer first\r\n");
  const TestHttpResponse refused = again.Receive();
  const json error = ErrorOf(refused, 429);
  EXPECT_EQ(error["code"], "rate_limit_exceeded");
  EXPECT_EQ(error["type"], "rate_limit_error");
  EXPECT_NE(refused.Header("Retry-After"), "");
  TestHttpClient other(http_port());
  other.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                    "Authorization: Bearer second\r\n");
  EXPECT_TRUE(scheduler().WaitForRequests(2));
}

TEST_F(ApiKeysContract, RequestsPerMinuteAreCountedAndSaid) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"first", "second"};
    config.api_keys.limits = {.requests_per_minute = 2, .tokens_per_minute = 100'000};
  });
  AwaitReady(200);
  const auto send = [this](const std::string& key, const json& body) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", body.dump(),
                       "Authorization: Bearer " + key + "\r\n");
    return client.Receive();
  };
  Answer("</think>x");
  TestHttpResponse response = send("first", ChatBody());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("x-ratelimit-limit-requests"), "2");
  EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(response.Header("x-ratelimit-limit-tokens"), "100000");
  EXPECT_NE(response.Header("x-ratelimit-reset-requests"), "");
  json streamed = ChatBody();
  streamed["stream"] = true;
  Answer("</think>x");
  response = send("first", streamed);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), "0");
  response = send("first", ChatBody());
  EXPECT_EQ(ErrorOf(response, 429)["code"], "rate_limit_exceeded");
  const int retry_ms = std::stoi(response.Header("retry-after-ms"));
  EXPECT_GT(retry_ms, 0);
  EXPECT_LE(retry_ms, 30'000);
  EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), "0");
  Answer("</think>x");
  EXPECT_EQ(send("second", ChatBody()).status, 200);
  EXPECT_EQ(scheduler().requests().size(), 3u);
}

// Whoever counts tokens before each completion must not have half as many completions.
TEST_F(ApiKeysContract, RequestsForTokensAloneHaveAMinuteOfTheirOwn) {
  std::atomic<int> now = 1000;  // seconds: one more is free every six
  StartGateway([&now](GatewayConfig& config) {
    config.api_keys.keys = {"first", "second"};
    config.api_keys.limits = {.requests_per_minute = 1, .tokens_per_minute = 1000};
    config.rate_clock = [&now] { return absl::FromUnixSeconds(now); };
  });
  AwaitReady(200);
  const auto send = [this](const std::string& key, const std::string& path, const json& body) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", path, body.dump(), "Authorization: Bearer " + key + "\r\n");
    return client.Receive();
  };
  const json messages = {{{"role", "user"}, {"content", "Hi"}}};
  const std::vector<std::pair<std::string, json>> calls = {
      {"/tokenize", {{"prompt", std::string(40'000, 'x')}}},  // the text worker's
      {"/detokenize", {{"tokens", {5}}}},
      {"/v1/messages/count_tokens", {{"messages", messages}}}};
  for (int i = 0; i < 10; ++i) {
    const auto& [path, body] = calls[i % calls.size()];
    const TestHttpResponse response = send("first", path, body);
    EXPECT_EQ(response.status, 200) << path << response.body;
    EXPECT_EQ(response.Header("x-ratelimit-limit-requests"), "10");
    EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), std::to_string(9 - i));
    EXPECT_EQ(response.Header("x-ratelimit-remaining-tokens"), "1000") << "it uses none of them";
  }
  for (const auto& [path, body] : calls) {
    const TestHttpResponse refused = send("first", path, body);
    EXPECT_EQ(refused.status, 429) << path;
    EXPECT_NE(refused.Header("retry-after-ms"), "") << path;
    EXPECT_EQ(refused.Header("x-ratelimit-remaining-requests"), "0") << path;
  }
  EXPECT_EQ(send("second", "/detokenize", {{"tokens", {5}}}).status, 200);
  Answer("</think>x");
  EXPECT_EQ(send("first", "/v1/chat/completions", ChatBody()).status, 200);
  EXPECT_EQ(send("first", "/v1/chat/completions", ChatBody()).status, 429);
  now += 7;
  EXPECT_EQ(send("first", calls[1].first, calls[1].second).status, 200);
  EXPECT_EQ(send("first", calls[1].first, calls[1].second).status, 429);
  StopGateway();  // its clock goes
}

TEST_F(ApiKeysContract, ARequestInTheBodyOfARefusedOneIsNone) {
  StartGateway([](GatewayConfig& config) { config.api_keys.keys = {"only"}; });
  AwaitReady(200);
  const std::string inner =
      "GET /v1/models HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer only\r\n\r\n";
  for (const std::string method : {"POST", "HEAD"}) {
    const std::string head = method + " /v1/chat/completions HTTP/1.1\r\nHost: t\r\n";
    for (const std::string& begun : {head + "Content-Length: 9000\r\n\r\n" + inner,
                                     head + "Transfer-Encoding: chunked\r\n\r\n2000\r\n" + inner}) {
      TestHttpClient client(http_port());
      client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer only\r\n");
      EXPECT_EQ(client.Receive().status, 200) << "the connection is kept";
      client.Send(begun);
      EXPECT_EQ(client.Receive().status, 401) << begun;
      client.Send(inner);
      EXPECT_TRUE(client.ClosedByPeer()) << begun;
    }
  }
}

TEST_F(ApiKeysContract, WhatTheServiceCannotTakeIsNotCounted) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"only"};
    config.api_keys.limits = {.requests_per_minute = 2, .tokens_per_minute = 1000};
  });
  AwaitReady(200);
  TestHttpClient client(http_port());
  for (int i = 0; i < 3; ++i) {
    scheduler().PushAnswer({.status = absl::ResourceExhaustedError("9 requests wait already")});
    client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                       "Authorization: Bearer only\r\n");
    const TestHttpResponse response = client.Receive();
    EXPECT_EQ(ErrorOf(response, 503)["code"], "server_is_overloaded");
    EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), "2");
    EXPECT_EQ(response.Header("x-ratelimit-remaining-tokens"), "1000");
  }
}

TEST_F(ApiKeysContract, WhatAGroupWithAnotherModelCannotTakeIsNotCounted) {
  StartGateway(
      [](GatewayConfig& config) {
        config.api_keys.keys = {"only"};
        config.api_keys.limits = {.requests_per_minute = 2};
      },
      {.model_fingerprint = "of another model"});
  TestHttpClient client(http_port());
  for (int i = 0; i < 3; ++i) {
    client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                       "Authorization: Bearer only\r\n");
    const TestHttpResponse response = client.Receive();
    ErrorOf(response, 503);
    EXPECT_EQ(response.Header("x-ratelimit-remaining-requests"), "2");
  }
}

TEST_F(ApiKeysContract, TokensPerMinuteCountPromptsAndAnswers) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"only"};
    config.api_keys.limits = {.tokens_per_minute = 40};
  });
  AwaitReady(200);
  TestHttpClient client(http_port());
  const auto send = [&](const json& body) {
    client.SendRequest("POST", "/v1/completions", body.dump(), "Authorization: Bearer only\r\n");
    return client.Receive();
  };
  EXPECT_EQ(send({{"prompt", std::vector<int>(8, 7)}, {"max_tokens", 60}}).status, 200);
  EXPECT_EQ(ErrorOf(send({{"prompt", {7}}}), 429)["code"], "rate_limit_exceeded");
  EXPECT_EQ(scheduler().requests().size(), 1u);
}

TEST_F(ApiKeysContract, TokensOfAnAnswerCountWhileItRuns) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"only"};
    config.api_keys.limits = {.tokens_per_minute = 12};
  });
  AwaitReady(200);
  scheduler().HoldAfter(10);
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/completions",
                      json({{"prompt", std::vector<int>(8, 7)}, {"max_tokens", 60}}).dump(),
                      "Authorization: Bearer only\r\n");
  TestHttpClient client(http_port());
  TestHttpResponse response;
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  do {
    client.SendRequest("POST", "/v1/completions", json({{"prompt", "x"}, {"n", 0}}).dump(),
                       "Authorization: Bearer only\r\n");
    response = client.Receive();
  } while (response.status == 400 && absl::Now() < deadline);
  EXPECT_EQ(ErrorOf(response, 429)["code"], "rate_limit_exceeded");
  scheduler().Release();
  EXPECT_EQ(running.Receive().status, 200);
}

TEST_F(ApiKeysContract, AFileNamesKeysByTheirHashes) {
  const std::string path = testing::TempDir() + "/gateway_api_keys";
  // Of "first".
  std::ofstream(path) << "alice a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e\n";
  StartGateway([&](GatewayConfig& config) { config.api_keys.file = path; });
  AwaitReady(200);
  TestHttpClient client(http_port());
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer second\r\n");
  ErrorOf(client.Receive(), 401);
  Answer("</think>x");
  client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                     "Authorization: Bearer first\r\n");
  EXPECT_EQ(client.Receive().status, 200);
  EXPECT_EQ(scheduler().requests().back().fairness_key(), "alice");
}

TEST_F(ApiKeysContract, TheSchedulerHearsOfKeyWeightAndPriority) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys.keys = {"first", "second"};
    config.api_keys.weights = {1, 4};
    config.api_keys.limits.best_priority = -3;
  });
  AwaitReady(200);
  const auto send = [this](json body, const std::string& headers) {
    Answer("</think>x");
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", body.dump(),
                       "Authorization: Bearer second\r\n" + headers);
    EXPECT_EQ(client.Receive().status, 200);
    return scheduler().requests().back();
  };
  v1::SubmitRequest submitted = send(ChatBody(), "X-Vllm-Priority: -3\r\n");
  EXPECT_EQ(submitted.fairness_key(), "key-2");
  EXPECT_EQ(submitted.fairness_weight(), 4u);
  EXPECT_EQ(submitted.priority(), -3);
  json body = ChatBody();
  body["priority"] = 9;
  EXPECT_EQ(send(body, "X-Vllm-Priority: -3\r\n").priority(), 9);
  EXPECT_EQ(send(ChatBody(), "").priority(), 0);
  EXPECT_EQ(send(ChatBody(), "X-Vllm-Priority: -4\r\n").priority(), -3) << "no better";
  body["priority"] = -4;
  EXPECT_EQ(send(body, "").priority(), -3);
}

TEST_F(ApiKeysContract, CachedPromptsAreSaltedByKeyAndByRequest) {
  StartGateway([](GatewayConfig& config) { config.api_keys.keys = {"first", "second"}; });
  AwaitReady(200);
  const auto salt_of = [this](const std::string& key, const std::string& requested) {
    Answer("</think>x");
    json body = ChatBody();
    if (!requested.empty()) body["cache_salt"] = requested;
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", body.dump(),
                       "Authorization: Bearer " + key + "\r\n");
    EXPECT_EQ(client.Receive().status, 200);
    return scheduler().requests().back().cache_salt();
  };
  const std::string first = salt_of("first", "");
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first.find("first"), std::string::npos);
  EXPECT_EQ(salt_of("first", ""), first);
  EXPECT_NE(salt_of("second", ""), first);
  const std::string salted = salt_of("first", std::string(256, 's'));
  EXPECT_NE(salted, first);
  EXPECT_NE(salt_of("second", std::string(256, 's')), salted);
  EXPECT_LE(salted.size(), 256u);
}

TEST_F(ApiKeysContract, WithoutKeysOnlyTheRequestsSaltCounts) {
  StartGateway();
  AwaitReady(200);
  json body = ChatBody();
  Answer("</think>x");
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 200);
  EXPECT_EQ(scheduler().requests().back().cache_salt(), "");
  body["cache_salt"] = "mine";
  Answer("</think>x");
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 200);
  EXPECT_EQ(scheduler().requests().back().cache_salt(), "mine");
  body["cache_salt"] = "";
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 400);
  body["cache_salt"] = std::string(257, 's');
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 400);
}

}  // namespace
}  // namespace baton::gateway
