// Everything a client can do wrong over HTTP: the status, OpenAI's error body, and that the gateway
// lives on.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Case {
  std::string path;
  std::string body;
  std::string param;  // empty: null
};

std::vector<Case> BadBodies() {
  const std::string chat = "/v1/chat/completions";
  const std::string completions = "/v1/completions";
  const std::string hi = R"("messages":[{"role":"user","content":"Hi"}])";
  return {
      {chat, "{", ""},
      {chat, "[]", ""},
      {chat, "{}", "messages"},
      {chat, R"({"messages":[]})", "messages"},
      {chat, R"({"messages":"Hi"})", "messages"},
      {chat, R"({"messages":[{"role":"user"}]})", "messages[0].content"},
      {chat, R"({"messages":[{"role":"king","content":"Hi"}]})", "messages[0].role"},
      {chat, R"({"messages":[{"role":"user","content":7}]})", "messages[0].content"},
      {chat, R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
       "messages[0].content"},
      {chat, "{" + hi + "," + hi + "}", ""},
      {chat, "{" + hi + R"(,"max_tokens":-1})", "max_tokens"},
      {chat, "{" + hi + R"(,"max_tokens":"5"})", "max_tokens"},
      {chat, "{" + hi + R"(,"max_tokens":1.5})", "max_tokens"},
      {chat, "{" + hi + R"(,"max_tokens":99999999999999999999})", "max_tokens"},
      {chat, "{" + hi + R"(,"max_completion_tokens":100000})", "max_completion_tokens"},
      {chat, "{" + hi + R"(,"temperature":2.5})", "temperature"},
      {chat, "{" + hi + R"(,"temperature":true})", "temperature"},
      {chat, "{" + hi + R"(,"temperature":1e999})", ""},
      {chat, "{" + hi + R"(,"temperature":NaN})", ""},
      {chat, "{" + hi + R"(,"top_p":0})", "top_p"},
      {chat, "{" + hi + R"(,"n":9})", "n"},
      {chat, "{" + hi + R"(,"n":2,"temperature":0})", "n"},
      {chat, "{" + hi + R"(,"stop":["a","b","c","d","e"]})", "stop"},
      {chat, "{" + hi + R"(,"stop":[""]})", "stop"},
      {chat, "{" + hi + R"(,"stop":{}})", "stop"},
      {chat, "{" + hi + R"(,"top_logprobs":3})", "top_logprobs"},
      {chat, "{" + hi + R"(,"logprobs":true,"top_logprobs":21})", "top_logprobs"},
      {chat, "{" + hi + R"(,"stream_options":{"include_usage":true}})", "stream_options"},
      {chat, "{" + hi + R"(,"stream":"yes"})", "stream"},
      {chat, "{" + hi + R"(,"tools":[{"type":"function"}]})", "tools[0].function"},
      {chat, "{" + hi + R"(,"response_format":{"type":"structural_tag"}})", "response_format"},
      {chat, "{" + hi + R"(,"guided_json":{"not":{}}})", "guided_json"},
      {completions, R"({"prompt":"x","structured_outputs":{"regex":"(a"}})",
       "structured_outputs.regex"},
      {chat, "{" + hi + R"(,"logit_bias":{"9999":1}})", "logit_bias"},
      {chat, "{" + hi + R"(,"user":")" + "\xff" + R"("})", ""},
      {chat, "{" + hi + R"(,"user":"\ud800"})", ""},
      {completions, R"({"prompt":""})", "prompt"},
      {completions, R"({"prompt":[]})", "prompt"},
      {completions, R"({"prompt":[1,-1]})", "prompt"},
      {completions, R"({"prompt":[2048]})", "prompt"},
      {completions, R"({"prompt":[1,"a"]})", "prompt"},
      {completions, R"({"prompt":[[1],"a",{}]})", "prompt"},
      {completions, R"({"prompt":"x","max_tokens":0})", "max_tokens"},
      {completions, R"({"prompt":"x","suffix":"y"})", "suffix"},
      {completions, R"({"prompt":"x","min_tokens":17})", "min_tokens"},
      {completions, R"({"prompt":"x","logprobs":21})", "logprobs"},
      {completions, R"({"prompt":"x","best_of":3})", "best_of"},
  };
}

class ErrorsContract : public GatewayFixture {
 protected:
  // Checks the shape of an error and returns it.
  json ErrorOf(const TestHttpResponse& response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    const json body = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
    if (!body.is_object() || !body.contains("error")) {
      ADD_FAILURE() << "no error body: " << response.body;
      return json::object();
    }
    for (const char* key : {"message", "type", "param", "code"}) {
      EXPECT_TRUE(body["error"].contains(key)) << key;
    }
    return body["error"];
  }
};

TEST_F(ErrorsContract, BadBodiesAre400AndNameTheField) {
  StartGateway();
  AwaitReady(200);
  for (const Case& test : BadBodies()) {
    SCOPED_TRACE(test.path + " " + test.body);
    const json error = ErrorOf(PostText(test.path, test.body), 400);
    EXPECT_EQ(error["type"], "invalid_request_error");
    if (test.param.empty()) {
      EXPECT_TRUE(error["param"].is_null()) << error;
    } else {
      EXPECT_EQ(error["param"], test.param);
    }
  }
  EXPECT_TRUE(scheduler().requests().empty());
  EXPECT_EQ(Get("/health").status, 200);
}

TEST_F(ErrorsContract, TooLongAPromptSaysTheCounts) {
  StartGateway();
  AwaitReady(200);
  const json prompt(std::vector<int>(5000, 7));
  const json error = ErrorOf(Post("/v1/completions", {{"prompt", prompt}}), 400);
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("4096"));
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("5000"));
}

TEST_F(ErrorsContract, TheGroupsOwnContextLengthCounts) {
  StartGateway(nullptr, {.max_model_len = 64});
  AwaitReady(200);
  const json prompt(std::vector<int>(60, 7));
  ErrorOf(Post("/v1/completions", {{"prompt", prompt}}), 400);
  const json models = json::parse(Get("/v1/models").body);
  EXPECT_EQ(models["data"][0]["max_model_len"], 64);
}

TEST_F(ErrorsContract, UnknownModelIs404) {
  StartGateway();
  AwaitReady(200);
  json body = ChatBody();
  body["model"] = "gpt-4";
  const json error = ErrorOf(Post("/v1/chat/completions", body), 404);
  EXPECT_EQ(error["param"], "model");
  EXPECT_EQ(error["code"], "model_not_found");
  body["model"] = "second-name";
  Answer("x");
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 200);
}

TEST_F(ErrorsContract, PathsMethodsAndContentTypes) {
  StartGateway();
  ErrorOf(Get("/v2/chat"), 404);
  ErrorOf(Get("//v1/models"), 404);
  const TestHttpResponse wrong_method = Get("/v1/chat/completions");
  ErrorOf(wrong_method, 405);
  EXPECT_EQ(wrong_method.Header("Allow"), "POST");
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/completions", "prompt=x",
                     "Content-Type: application/x-www-form-urlencoded\r\n");
  ErrorOf(client.Receive(), 415);
}

TEST_F(ErrorsContract, NotReadyIs503WithRetryAfter) {
  StartGateway(nullptr, {.model_fingerprint = "of another model"});
  const TestHttpResponse response = Post("/v1/chat/completions", ChatBody());
  ErrorOf(response, 503);
  EXPECT_NE(response.Header("Retry-After"), "");
  AwaitReady(503);
  EXPECT_EQ(Get("/health/live").status, 200);
}

TEST_F(ErrorsContract, MoreRequestsThanSlotsAre503) {
  StartGateway([](GatewayConfig& config) { config.max_num_requests = 1; });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient first(http_port());
  first.SendRequest("POST", "/v1/chat/completions", ChatBody().dump());
  ASSERT_TRUE(scheduler().WaitForRequests(1, absl::Seconds(5)));
  const json error = ErrorOf(Post("/v1/chat/completions", ChatBody()), 503);
  EXPECT_EQ(error["code"], "server_is_overloaded");
}

TEST_F(ErrorsContract, ApiKeysGuardTheApiButNotTheProbes) {
  StartGateway([](GatewayConfig& config) { config.api_keys = {"first", "second"}; });
  ErrorOf(Get("/v1/models"), 401);
  TestHttpClient client(http_port());
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer second\r\n");
  EXPECT_EQ(client.Receive().status, 200);
  client.SendRequest("GET", "/v1/models", "", "Authorization: Bearer seconds\r\n");
  ErrorOf(client.Receive(), 401);
  EXPECT_EQ(Get("/health/live").status, 200);
}

TEST_F(ErrorsContract, DeadlineIs504) {
  StartGateway([](GatewayConfig& config) { config.request_timeout = absl::Milliseconds(200); });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  ErrorOf(Post("/v1/chat/completions", ChatBody()), 504);
  EXPECT_TRUE(scheduler().WaitForCancelled(1, absl::Seconds(5)));
}

TEST_F(ErrorsContract, AClientsOwnTimeoutIs504) {
  StartGateway();
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                     "X-Request-Timeout: 0.2\r\n");
  EXPECT_EQ(ErrorOf(client.Receive(), 504)["code"], "deadline_exceeded");
  EXPECT_TRUE(scheduler().WaitForCancelled(1, absl::Seconds(5)));
}

TEST_F(ErrorsContract, ATimeoutAfterTheFirstTokenIsAnErrorEvent) {
  StartGateway();
  AwaitReady(200);
  scheduler().HoldAfter(2);
  json request = ChatBody();
  request["stream"] = true;
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", request.dump(), "X-Request-Timeout: 1\r\n");
  const TestHttpResponse response = client.Receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.Events().back(), HasSubstr("deadline_exceeded"));
}

TEST_F(ErrorsContract, WrongHeadersAre400) {
  StartGateway();
  AwaitReady(200);
  for (const char* header : {"X-Request-Timeout: soon", "X-Request-Timeout: -1",
                             "X-Request-Timeout: 0", "X-Vllm-Priority: high"}) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                       absl::StrCat(header, "\r\n"));
    const json error = ErrorOf(client.Receive(), 400);
    EXPECT_THAT(header, HasSubstr(error["param"].get<std::string>()));
  }
  EXPECT_TRUE(scheduler().requests().empty());
}

TEST_F(ErrorsContract, AFullQueueIs503WithTheSchedulersTimeToRetry) {
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
class EarlyRefusals : public ErrorsContract {
 protected:
  EarlyRefusals() {
    StartGateway([](GatewayConfig& config) {
      config.api_keys = {"flood", "other"};
      config.early_refusal_time = absl::Hours(1);
    });
    AwaitReady(200);
    scheduler().PushAnswer({.status = absl::ResourceExhaustedError("9 requests wait already"),
                            .retry_after_ms = 7400,
                            .closed_for_us = 3'600'000'000});
    EXPECT_EQ(Send("flood", ChatBody().dump()).status, 503);
  }

  TestHttpResponse Send(const std::string& key, const std::string& body) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", "/v1/chat/completions", body,
                       absl::StrCat("Authorization: Bearer ", key, "\r\n"));
    return client.Receive();
  }
};

TEST_F(EarlyRefusals, AreAnsweredAsTheSchedulerWouldWithoutAskingIt) {
  const TestHttpResponse response = Send("flood", ChatBody().dump());
  EXPECT_EQ(ErrorOf(response, 503)["code"], "server_is_overloaded");
  EXPECT_EQ(ErrorOf(response, 503)["message"], "9 requests wait already");
  const int retry_ms = std::stoi(response.Header("retry-after-ms"));
  EXPECT_GE(retry_ms, 6600);
  EXPECT_LE(retry_ms, 8200);
  EXPECT_EQ(scheduler().requests().size(), 1u);
  EXPECT_THAT(Get("/metrics").body,
              HasSubstr("baton_gateway_early_refusals_total{engine=\"0\",model_name="));
}

TEST_F(EarlyRefusals, ComeBeforeTheBodyIsLookedAt) {
  EXPECT_EQ(Send("flood", "this is no JSON").status, 503);
  EXPECT_EQ(Send("other", "this is no JSON").status, 400);
}

TEST_F(EarlyRefusals, KeepTheConnection) {
  TestHttpClient client(http_port());
  for (int i = 0; i < 3; ++i) {
    client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                       "Authorization: Bearer flood\r\n");
    EXPECT_EQ(client.Receive().status, 503);
  }
  client.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                     "Authorization: Bearer other\r\n");
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(EarlyRefusals, AreNotForOtherKeysNorForBetterPriorities) {
  EXPECT_EQ(Send("other", ChatBody().dump()).status, 200);
  json urgent = ChatBody();
  urgent["priority"] = -1;
  EXPECT_EQ(Send("flood", urgent.dump()).status, 200);
  EXPECT_EQ(scheduler().requests().size(), 3u);
}

TEST_F(ErrorsContract, AKeysOwnLimitIs429) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys = {"first", "second"};
    config.max_num_requests_per_key = 1;
  });
  AwaitReady(200);
  scheduler().HoldAfter(0);
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                      "Authorization: Bearer first\r\n");
  ASSERT_TRUE(scheduler().WaitForRequests(1, absl::Seconds(5)));
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
  EXPECT_TRUE(scheduler().WaitForRequests(2, absl::Seconds(5)));
}

TEST_F(ErrorsContract, TheSchedulerHearsOfKeyWeightAndPriority) {
  StartGateway([](GatewayConfig& config) {
    config.api_keys = {"first", "second"};
    config.api_key_weights = {1, 4};
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
}

TEST_F(ErrorsContract, CachedPromptsAreSaltedByKeyAndByRequest) {
  StartGateway([](GatewayConfig& config) { config.api_keys = {"first", "second"}; });
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

TEST_F(ErrorsContract, WithoutKeysOnlyTheRequestsSaltCounts) {
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

TEST_F(ErrorsContract, DrainFinishesWhatRunsAndRefusesNewWork) {
  StartGateway();
  AwaitReady(200);
  Answer("</think>done");
  scheduler().HoldAfter(1);
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", ChatBody().dump());
  ASSERT_TRUE(scheduler().WaitForRequests(1, absl::Seconds(5)));
  runtime().RequestShutdown("test");
  AwaitReady(503);
  const TestHttpResponse refused = Post("/v1/chat/completions", ChatBody());
  EXPECT_EQ(ErrorOf(refused, 503)["code"], "server_is_draining");
  EXPECT_EQ(refused.Header("x-should-retry"), "true");
  EXPECT_NE(refused.Header("Retry-After"), "");
  scheduler().Release();
  const TestHttpResponse finished = running.Receive();
  EXPECT_EQ(finished.status, 200) << finished.body;
}

TEST_F(ErrorsContract, DrainDeadlineEndsStreamsWithAnErrorEvent) {
  StartGateway([](GatewayConfig& config) { config.server.drain_timeout = absl::Seconds(1); });
  AwaitReady(200);
  scheduler().HoldAfter(2);
  json request = ChatBody();
  request["stream"] = true;
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", request.dump());
  ASSERT_TRUE(running.ReceiveUntil("data: "));
  runtime().RequestShutdown("test");
  const TestHttpResponse response = running.Receive();
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.Events().back(), HasSubstr("shutting down"));
}

TEST_F(ErrorsContract, DrainSendsWhatASlowReaderHasNotTaken) {
  StartGateway([](GatewayConfig& config) { config.server.drain_timeout = absl::Seconds(60); });
  AwaitReady(200);
  TestHttpClient slow(http_port(), absl::Seconds(60));
  // More than the kernel's buffers hold: 8 x 3500 tokens with 21 log-probabilities each.
  const json request = {{"prompt", {5, 6}}, {"n", 8},    {"max_tokens", 3500},
                        {"logprobs", 20},   {"seed", 1}, {"return_tokens_as_token_ids", true}};
  slow.SendRequest("POST", "/v1/completions", request.dump());
  ASSERT_TRUE(slow.ReceiveUntil("\r\n\r\n"));  // the answer is complete, its body on the way
  std::thread stop([this] { StopGateway(); });
  const TestHttpResponse response = slow.Receive();
  stop.join();
  EXPECT_TRUE(response.complete);
  EXPECT_GT(response.body.size(), size_t{12} << 20) << "the kernel alone may have taken it";
}

TEST_F(ErrorsContract, MetricsCountWhatHappened) {
  StartGateway();
  AwaitReady(200);
  Answer("</think>x");
  ASSERT_EQ(Post("/v1/chat/completions", ChatBody()).status, 200);
  Get("/no/such/path/1");
  Get("/no/such/path/2");
  const std::string metrics = Get("/metrics").body;
  const std::string labels = "{engine=\"0\",model_name=\"tiny-r1\"} ";
  EXPECT_THAT(metrics, HasSubstr(absl::StrCat("vllm:generation_tokens_total", labels,
                                              Tokens("</think>x").size(), "\n")));
  EXPECT_THAT(metrics, HasSubstr("vllm:time_to_first_token_seconds_count" + labels + "1\n"));
  EXPECT_THAT(metrics, HasSubstr("finished_reason=\"stop\",model_name=\"tiny-r1\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("route=\"other\"} 2"));
  EXPECT_THAT(metrics, testing::Not(HasSubstr("/no/such")));
}

}  // namespace
}  // namespace baton::gateway
