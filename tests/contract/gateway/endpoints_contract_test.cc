// The endpoints beside chat and text completions.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class EndpointsContract : public GatewayFixture {
 protected:
  void Serve(const std::function<void(GatewayConfig&)>& adjust = nullptr) {
    StartGateway(adjust);
    AwaitReady(200);
  }
  json PostJson(const std::string& path, const json& body, int status = 200) {
    const TestHttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, status) << response.body;
    return json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  }
};

// The events of a stream whose events have names: the name must be the data's own type.
std::vector<json> NamedEvents(const TestHttpResponse& response) {
  std::vector<json> events;
  for (const std::string& data : response.Events()) {
    events.push_back(json::parse(data));
    EXPECT_THAT(response.body,
                HasSubstr(absl::StrCat("event: ", events.back()["type"].get<std::string>(), "\n")));
  }
  EXPECT_TRUE(response.complete);
  return events;
}

std::vector<std::string> TypesOf(const std::vector<json>& events) {
  std::vector<std::string> types;
  for (const json& event : events) {
    const std::string type = event["type"];
    if (types.empty() || types.back() != type) types.push_back(type);
  }
  return types;
}

TEST_F(EndpointsContract, TokenizeAndDetokenizeAreInverse) {
  Serve();
  const json tokens = PostJson(
      "/tokenize",
      {{"prompt", "Grüße, 世界"}, {"add_special_tokens", false}, {"return_token_strs", true}});
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(tokens["token_strs"].size(), tokens["tokens"].size());
  EXPECT_EQ(tokens["max_model_len"], 4096);
  EXPECT_EQ(PostJson("/detokenize", {{"tokens", tokens["tokens"]}})["prompt"], "Grüße, 世界");
  EXPECT_EQ(PostJson("/detokenize", {{"tokens", {99999}}}, 400)["error"]["param"], "tokens");
  EXPECT_EQ(PostJson("/tokenize", json::object(), 400)["error"]["param"], "prompt");
}

TEST_F(EndpointsContract, TokenizeOfMessagesIsWhatACompletionSends) {
  Serve();
  const json tokens = PostJson("/tokenize", ChatBody())["tokens"];
  Answer("x");
  PostJson("/v1/chat/completions", ChatBody());
  const v1::SubmitRequest submitted = scheduler().requests()[0];
  EXPECT_EQ(tokens, json(std::vector<uint32_t>(submitted.prompt_token_ids().begin(),
                                               submitted.prompt_token_ids().end())));
}

TEST_F(EndpointsContract, LongTextsAreTokenizedBesideTheLoop) {
  Serve();
  std::string text;
  while (text.size() < 200000) text += "some words ";
  EXPECT_GT(PostJson("/tokenize", {{"prompt", text}})["count"], 20000);
}

TEST_F(EndpointsContract, ABatchAnswersEachConversation) {
  Serve();
  Answer("</think>one");
  Answer("</think>two");
  json body = ChatBody();
  body["messages"] = {body["messages"], {{{"role", "user"}, {"content", "Another"}}}};
  const json answer = PostJson("/v1/chat/completions/batch", body);
  ASSERT_EQ(answer["choices"].size(), 2u);
  std::set<std::string> contents;
  for (const json& choice : answer["choices"]) contents.insert(choice["message"]["content"]);
  EXPECT_THAT(contents, ElementsAre("one", "two"));
  size_t num_prompt_tokens = 0;
  for (const auto& request : scheduler().requests()) {
    num_prompt_tokens += request.prompt_token_ids_size();
  }
  EXPECT_EQ(answer["usage"]["prompt_tokens"], num_prompt_tokens);
  EXPECT_TRUE(answer["prompt_token_ids"].is_null());
  Answer("</think>one");
  Answer("</think>two");
  body["return_token_ids"] = true;
  const json with_ids = PostJson("/v1/chat/completions/batch", body);
  EXPECT_FALSE(with_ids["choices"][0]["token_ids"].empty());
  EXPECT_TRUE(with_ids["prompt_token_ids"].is_null()) << "there are several prompts";
  body["stream"] = true;
  EXPECT_EQ(PostJson("/v1/chat/completions/batch", body, 400)["error"]["param"], "stream");
}

TEST_F(EndpointsContract, MessagesAnswersInBlocks) {
  Serve();
  Answer("Hm.</think>42");
  const json body = {{"model", "tiny-r1"},
                     {"max_tokens", 100},
                     {"system", "Be short."},
                     {"messages", {{{"role", "user"}, {"content", "6 x 7?"}}}}};
  const json message = PostJson("/v1/messages", body);
  EXPECT_EQ(message["type"], "message");
  ASSERT_EQ(message["content"].size(), 2u);
  EXPECT_EQ(message["content"][0]["thinking"], "Hm.");
  EXPECT_EQ(message["content"][1], (json{{"type", "text"}, {"text", "42"}}));
  EXPECT_EQ(message["stop_reason"], "end_turn");
  EXPECT_GT(message["usage"]["output_tokens"], 2);
  const json count = PostJson("/v1/messages/count_tokens", body);
  EXPECT_EQ(count["input_tokens"], scheduler().requests()[0].prompt_token_ids_size());
  json wrong = body;
  wrong.erase("max_tokens");
  const json error = PostJson("/v1/messages", wrong, 400);
  EXPECT_EQ(error["type"], "error");
  EXPECT_EQ(error["error"]["type"], "invalid_request_error");
}

TEST_F(EndpointsContract, MessagesStreamsBlocksInOrder) {
  Serve();
  Answer("Hm.</think>42");
  const TestHttpResponse response =
      Post("/v1/messages", {{"max_tokens", 100},
                            {"stream", true},
                            {"messages", {{{"role", "user"}, {"content", "6 x 7?"}}}}});
  ASSERT_EQ(response.status, 200) << response.body;
  const std::vector<json> events = NamedEvents(response);
  EXPECT_THAT(TypesOf(events),
              ElementsAre("message_start", "content_block_start", "content_block_delta",
                          "content_block_stop", "content_block_start", "content_block_delta",
                          "content_block_stop", "message_delta", "message_stop"));
  std::string thinking, text;
  for (const json& event : events) {
    if (event["type"] != "content_block_delta") continue;
    thinking += event["delta"].value("thinking", "");
    text += event["delta"].value("text", "");
  }
  EXPECT_EQ(thinking, "Hm.");
  EXPECT_EQ(text, "42");
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "end_turn");
}

TEST_F(EndpointsContract, AFailureInMessagesIsAnEventOfItsOwnKind) {
  Serve();
  FakeAnswer answer;
  answer.token_ids = Tokens("half");
  answer.status = absl::InternalError("rank 3 lost its mind");
  scheduler().PushAnswer(answer);
  const TestHttpResponse response =
      Post("/v1/messages", {{"max_tokens", 100},
                            {"stream", true},
                            {"messages", {{{"role", "user"}, {"content", "x"}}}}});
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.body, HasSubstr("event: error\n"));
  EXPECT_EQ(json::parse(response.Events().back())["error"]["type"], "api_error");
}

TEST_F(EndpointsContract, MessagesThinkNoLongerThanTheirBudget) {
  Serve();
  Answer("x");
  const TestHttpResponse response =
      Post("/v1/messages", {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                            {"max_tokens", 20},
                            {"thinking", {{"type", "enabled"}, {"budget_tokens", 12}}}});
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(scheduler().requests().back().sampling().reasoning_budget().num_tokens(), 12u);
}

TEST_F(EndpointsContract, ResponsesAnswersInItems) {
  Serve();
  Answer("Hm.</think>42");
  const json body = {{"model", "tiny-r1"}, {"input", "6 x 7?"}, {"instructions", "Be short."}};
  const json whole = PostJson("/v1/responses", body);
  EXPECT_EQ(whole["object"], "response");
  EXPECT_EQ(whole["status"], "completed");
  EXPECT_EQ(whole["store"], false);
  ASSERT_EQ(whole["output"].size(), 2u);
  EXPECT_EQ(whole["output"][0]["content"][0]["text"], "Hm.");
  EXPECT_EQ(whole["output"][1]["content"][0]["text"], "42");
  EXPECT_GT(whole["usage"]["output_tokens_details"]["reasoning_tokens"], 0);

  Answer("Hm.</think>42");
  json streamed = body;
  streamed["stream"] = true;
  const std::vector<json> events = NamedEvents(Post("/v1/responses", streamed));
  EXPECT_THAT(TypesOf(events),
              ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                          "response.content_part.added", "response.reasoning_text.delta",
                          "response.reasoning_text.done", "response.content_part.done",
                          "response.output_item.done", "response.output_item.added",
                          "response.content_part.added", "response.output_text.delta",
                          "response.output_text.done", "response.content_part.done",
                          "response.output_item.done", "response.completed"));
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  const json& last = events.back()["response"];
  EXPECT_EQ(last["output"][1]["content"], whole["output"][1]["content"]);
  EXPECT_EQ(last["usage"], whole["usage"]);
}

TEST_F(EndpointsContract, ResponsesThatAreCutShortSaySo) {
  Serve();
  Answer("Hm.</think>4", v1::FINISH_REASON_LENGTH);
  const json answer = PostJson("/v1/responses", {{"input", {{{"role", "user"}, {"content", "x"}}}},
                                                 {"max_output_tokens", 50}});
  EXPECT_EQ(answer["status"], "incomplete");
  EXPECT_EQ(answer["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(PostJson("/v1/responses", {{"input", "x"}, {"previous_response_id", "r"}},
                     400)["error"]["param"],
            "previous_response_id");
}

TEST_F(EndpointsContract, PagesNeedNoKeyAndOtherServer) {
  Serve([](GatewayConfig& config) { config.api_keys.keys = {"secret"}; });
  for (const std::string path : {"/", "/docs"}) {
    const TestHttpResponse page = Get(path);
    EXPECT_EQ(page.status, 200) << path;
    EXPECT_THAT(page.Header("content-type"), HasSubstr("text/html"));
    EXPECT_THAT(page.body, testing::Not(HasSubstr("//cdn")));
    EXPECT_THAT(page.body, testing::Not(HasSubstr("src=\"http")));
  }
}

TEST_F(EndpointsContract, KeysGuardAllButProbesAndPages) {
  Serve([](GatewayConfig& config) { config.api_keys.keys = {"secret"}; });
  for (const std::string path :
       {"/load", "/v1/models", "/v1/nothing", "/tokenizer_info", "/version", "/metrics"}) {
    EXPECT_EQ(Get(path).status, 401) << path;
  }
  for (const std::string path : {"/tokenize", "/v1/responses", "/v1/messages"}) {
    EXPECT_EQ(PostText(path, "{}").status, 401) << path;
  }
  EXPECT_EQ(json::parse(PostText("/v1/responses", "{}").body)["error"]["code"], "invalid_api_key");
  EXPECT_EQ(json::parse(PostText("/v1/messages", "{}").body)["type"], "error") << "Anthropic's";
  for (const std::string path :
       {"/health", "/health/live", "/health/ready", "/ping", "/", "/docs", "/openapi.json"}) {
    EXPECT_EQ(Get(path).status, 200) << path;
  }
  for (const std::string path : {"/v1/models", "/version", "/metrics"}) {
    TestHttpClient client(http_port());
    client.SendRequest("GET", path, "", "x-api-key: secret\r\n");
    EXPECT_EQ(client.Receive().status, 200) << path;
  }
}

TEST_F(EndpointsContract, ASilentStreamWritesComments) {
  Serve([](GatewayConfig& config) { config.sse_keep_alive = absl::Milliseconds(5); });
  scheduler().HoldAfter(0);
  Answer("</think>late");
  json request = ChatBody();
  request["stream"] = true;
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", request.dump());
  ASSERT_TRUE(client.ReceiveUntil(": keep-alive\n\n"));
  scheduler().Release();
  EXPECT_TRUE(client.ReceiveUntil("data: [DONE]"));
}

TEST_F(EndpointsContract, MetricsCountWhatHappened) {
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
  EXPECT_THAT(metrics, HasSubstr("http_requests_total{handler=\"/v1/chat/completions\",method="
                                 "\"POST\",status=\"2xx\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("handler=\"none\",method=\"GET\",status=\"4xx\"} 2"));
  EXPECT_THAT(metrics, testing::Not(HasSubstr("/no/such")));
}

TEST_F(EndpointsContract, MetricsSayTheMethodAsItWasSent) {
  StartGateway();
  AwaitReady(200);
  for (const char* path : {"/v1/models", "/v1/models/tiny-r1"}) {
    TestHttpClient client(http_port());
    client.Send(absl::StrCat("HEAD ", path, " HTTP/1.1\r\nHost: t\r\n\r\n"));
    EXPECT_TRUE(client.ReceiveUntil("HTTP/1.1 200 ")) << path;
  }
  // One that never became a request says what is known of it: path and method.
  TestHttpClient client(http_port());
  client.Send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_EQ(client.Receive().status, 413);
  const std::string metrics = Get("/metrics").body;
  const auto series = [](const char* handler, const char* method, const char* status) {
    return absl::StrCat("http_requests_total{handler=\"", handler, "\",method=\"", method,
                        "\",status=\"", status, "\"} 1\n");
  };
  EXPECT_THAT(metrics, HasSubstr(series("/v1/models", "HEAD", "2xx")));
  EXPECT_THAT(metrics, HasSubstr(series("/v1/models/{model}", "HEAD", "2xx")));
  EXPECT_THAT(metrics, HasSubstr(series("/v1/completions", "POST", "4xx")));
}

TEST_F(EndpointsContract, TheLargestBodyThatIsAllowedIsTaken) {
  constexpr size_t kBodyBytes = 80 << 20;  // of prompt it would be more than 30 s of work
  StartGateway([](GatewayConfig& config) { config.http.limits.body_bytes = kBodyBytes; });
  AwaitReady(200);
  ErrorOf(PostText("/tokenize", std::string(kBodyBytes, ' ')), 400);
}

}  // namespace
}  // namespace baton::gateway
