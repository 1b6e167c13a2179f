// Everything a client can do wrong over HTTP: the status, OpenAI's error body, and that the gateway
// lives on.
#include <string>
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
       "messages[0].content[0]"},
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

class ErrorsContract : public GatewayFixture {};

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
  EXPECT_EQ(ErrorOf(client.Receive(), 400)["code"], "unsupported_content_type");
}

TEST_F(ErrorsContract, ModelsAreFoundByNamesWithSlashes) {
  StartGateway([](GatewayConfig& config) { config.model.names = {"deepseek-ai/DeepSeek-R1"}; });
  for (const char* name :
       {"deepseek-ai/DeepSeek-R1", "deepseek-ai%2FDeepSeek-R1", "deepseek-ai%2fDeep%53eek-R1"}) {
    const TestHttpResponse response = Get(absl::StrCat("/v1/models/", name));
    ASSERT_EQ(response.status, 200) << name << response.body;
    EXPECT_EQ(json::parse(response.body)["id"], "deepseek-ai/DeepSeek-R1");
  }
  ErrorOf(Get("/v1/models/"), 404);
  ErrorOf(Get("/v1/models/deepseek-ai"), 404);
  ErrorOf(Get("/v1/models/deepseek-ai%252FDeepSeek-R1"), 404);
  ErrorOf(Get("/v1%2Fmodels"), 404);
  for (const char* wrong : {"a%", "a%2", "%zz", "%00", "a%0a"}) {
    ErrorOf(Get(absl::StrCat("/v1/models/", wrong)), 400);
  }
}

TEST_F(ErrorsContract, AnthropicsPathsHaveAnthropicsErrors) {
  StartGateway([](GatewayConfig& config) { config.http.limits.body_bytes = 1000; });
  const auto type_of = [](const TestHttpResponse& response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    const json body = json::parse(response.body);
    EXPECT_EQ(body["type"], "error") << body;
    return body["error"].value("type", "");
  };
  EXPECT_EQ(type_of(Get("/v1/messages"), 405), "invalid_request_error");
  EXPECT_EQ(type_of(Get("/v1/messages/batches"), 404), "not_found_error");
  EXPECT_EQ(type_of(PostText("/v1/messages", std::string(2000, ' ')), 413), "request_too_large");
  ErrorOf(Get("/v1/messages-of-others"), 404);
}

TEST_F(ErrorsContract, PagesOfOtherSitesMayReadWhatTheTransportRefuses) {
  StartGateway([](GatewayConfig& config) {
    config.http.limits.body_bytes = 1000;
    config.http.limits.header_timeout = absl::Milliseconds(50);
  });
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\n";
  for (const auto& [rest, status] :
       {std::pair("Content-Length: 2000\r\n\r\n", 413), std::pair("X: y", 408),
        std::pair("Transfer-Encoding: chunked\r\n\r\n7d1\r\n", 413)}) {
    TestHttpClient client(http_port());
    client.Send(head + rest);
    const TestHttpResponse response = client.Receive();
    ErrorOf(response, status);
    EXPECT_EQ(response.Header("Access-Control-Allow-Origin"), "*") << rest;
  }
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
  for (const char* path : {"/tokenize", "/detokenize"}) {
    TestHttpClient client(http_port());
    client.SendRequest("POST", path, R"({"prompt":"x","tokens":[5]})",
                       "X-Request-Timeout: soon\r\n");
    EXPECT_EQ(ErrorOf(client.Receive(), 400)["param"], "X-Request-Timeout");
  }
  EXPECT_TRUE(scheduler().requests().empty());
}

}  // namespace
}  // namespace baton::gateway
