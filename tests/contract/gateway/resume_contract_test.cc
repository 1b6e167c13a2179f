// The scheduler dies, hangs or stays away under a gateway: what clients see.
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
using testing::HasSubstr;

class ResumeContract : public GatewayFixture {
 protected:
  void Start(absl::Duration recovery_timeout = absl::Seconds(30)) {
    StartGateway([=](GatewayConfig& config) { config.recovery_timeout = recovery_timeout; });
    AwaitReady(200);
  }

  static json Body() {
    return {{"prompt", {5, 6, 7}},
            {"max_tokens", 12},
            {"seed", 3},
            {"stream", true},
            {"logprobs", 2},
            {"return_token_ids", true},
            {"stream_options", {{"include_usage", true}}}};
  }

  // What a stream says, however it is cut into chunks.
  static json Story(const TestHttpResponse& response) {
    EXPECT_TRUE(response.complete) << response.body;
    json story = {{"text", ""}, {"ids", json::array()}, {"logprobs", json::array()}};
    for (const std::string& event : response.Events()) {
      if (event == "[DONE]") continue;
      const json chunk = json::parse(event);
      if (chunk.contains("usage") && !chunk["usage"].is_null()) story["usage"] = chunk["usage"];
      for (const json& choice : chunk["choices"]) {
        story["text"] = story["text"].get<std::string>() + choice["text"].get<std::string>();
        if (!choice["finish_reason"].is_null()) story["finish"] = choice["finish_reason"];
        for (const json& id : choice["token_ids"]) story["ids"].push_back(id);
        // A chunk that only ends the choice has no tokens.
        const json& logprobs = choice["logprobs"];
        if (logprobs.is_null()) continue;
        for (const json& top : logprobs["top_logprobs"]) story["logprobs"].push_back(top);
      }
    }
    return story;
  }

  json Undisturbed() { return Story(Post("/v1/completions", Body())); }
};

TEST_F(ResumeContract, ADeadSchedulerCostsAStreamNothing) {
  Start();
  const json undisturbed = Undisturbed();
  scheduler().HoldAfter(3);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/completions", Body().dump());
  ASSERT_TRUE(scheduler().WaitForRequests(2));
  ASSERT_TRUE(client.ReceiveUntil("data: "));
  const v1::SubmitRequest first = scheduler().requests()[1];
  RestartScheduler();
  EXPECT_EQ(Story(client.Receive()), undisturbed);
  ASSERT_EQ(scheduler().requests().size(), 1u);
  const v1::SubmitRequest resumed = scheduler().requests()[0];
  EXPECT_GT(resumed.resumed_token_ids_size(), 0);
  EXPECT_THAT(resumed.prompt_token_ids(), testing::ElementsAreArray(first.prompt_token_ids()));
  EXPECT_EQ(resumed.sampling().seed(), 3u);
  EXPECT_EQ(resumed.stop().max_tokens(), 12u);
  const std::string series =
      "baton_gateway_resubmissions_total{engine=\"0\",model_name=\"tiny-r1\"} ";
  EXPECT_THAT(Get("/metrics").body,
              testing::AllOf(HasSubstr(series), testing::Not(HasSubstr(series + "0\n"))));
}

TEST_F(ResumeContract, AHungSchedulerIsLeftForTheNext) {
  Start();
  const json undisturbed = Undisturbed();
  scheduler().HoldAfter(3);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/completions", Body().dump());
  ASSERT_TRUE(client.ReceiveUntil("data: "));
  scheduler().Freeze();
  AwaitReady(503);
  EXPECT_EQ(Get("/health/live").status, 200);
  RestartScheduler();
  EXPECT_EQ(Story(client.Receive()), undisturbed);
}

TEST_F(ResumeContract, ABrokenCallIsMadeAgain) {
  Start();
  for (const absl::Status& broken :
       {absl::UnavailableError("Socket closed"), absl::CancelledError("the server stops"),
        absl::UnknownError("Stream removed")}) {
    FakeAnswer answer;
    answer.token_ids = {5, 6};
    answer.status = broken;
    scheduler().PushAnswer(answer);
    json body = Body();
    body["stream"] = false;
    body.erase("stream_options");
    const TestHttpResponse response = Post("/v1/completions", body);
    EXPECT_EQ(response.status, 200) << response.body;
    const json ids = json::parse(response.body)["choices"][0]["token_ids"];
    ASSERT_EQ(ids.size(), 12u) << response.body;
    EXPECT_EQ(ids[0], 5);
    EXPECT_EQ(ids[1], 6);
  }
}

TEST_F(ResumeContract, RequestsThatComeMeanwhileWait) {
  Start();
  const json undisturbed = Undisturbed();
  StopScheduler();
  AwaitReady(503);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/completions", Body().dump());
  RestartScheduler();
  EXPECT_EQ(Story(client.Receive()), undisturbed);
  EXPECT_EQ(scheduler().requests()[0].resumed_token_ids_size(), 0);
}

TEST_F(ResumeContract, OneThatStaysAwayEndsStreamsWithAnErrorAndRefusesTheRest) {
  Start(absl::Milliseconds(300));
  scheduler().HoldAfter(2);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/completions", Body().dump());
  ASSERT_TRUE(client.ReceiveUntil("data: "));
  StopScheduler();
  const TestHttpResponse response = client.Receive();
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.Events().back(), HasSubstr("away for too long"));
  const TestHttpResponse refused = Post("/v1/chat/completions", ChatBody());
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.Header("Retry-After"), "");
  EXPECT_THAT(refused.body, testing::Not(HasSubstr("127.0.0.1")));
}

}  // namespace
}  // namespace baton::gateway
