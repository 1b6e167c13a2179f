// POST /v1/completions through HTTP, tokenizer and a fake scheduler.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;

class CompletionsContract : public GatewayFixture {
 protected:
  void SetUp() override {
    StartGateway();
    AwaitReady(200);
  }

  json Complete(const json& body) {
    const TestHttpResponse response = Post("/v1/completions", body);
    EXPECT_EQ(response.status, 200) << response.body;
    return response.status == 200 ? json::parse(response.body) : json();
  }
  std::vector<uint32_t> SubmittedPrompt(size_t index) {
    const v1::SubmitRequest request = scheduler().requests().at(index);
    return {request.prompt_token_ids().begin(), request.prompt_token_ids().end()};
  }
};

TEST_F(CompletionsContract, TextPromptGivesText) {
  Answer(" jumps over");
  const json body = Complete({{"prompt", "The quick fox"}});
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][0]["text"], " jumps over");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(SubmittedPrompt(0), Tokens("The quick fox"));
  EXPECT_EQ(scheduler().requests()[0].stop().max_tokens(), 16);
}

TEST_F(CompletionsContract, ReasoningTagsAreTextHere) {
  Answer("a</think>b");
  EXPECT_EQ(Complete({{"prompt", "x"}})["choices"][0]["text"], "a</think>b");
}

TEST_F(CompletionsContract, TokenIdsGoThroughUnchanged) {
  const json body =
      Complete({{"prompt", {5, 6, 7}}, {"max_tokens", 4}, {"return_token_ids", true}, {"seed", 1}});
  EXPECT_EQ(SubmittedPrompt(0), (std::vector<uint32_t>{5, 6, 7}));
  EXPECT_EQ(body["choices"][0]["prompt_token_ids"], json({5, 6, 7}));
  EXPECT_EQ(body["choices"][0]["token_ids"].size(), 4u);
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 4);
}

TEST_F(CompletionsContract, SeveralPromptsTimesSeveralChoicesKeepTheirOrder) {
  const json body = Complete(
      {{"prompt", {{1, 2, 3}, {4, 5}}}, {"n", 2}, {"max_tokens", 3}, {"return_token_ids", true}});
  ASSERT_EQ(body["choices"].size(), 4u);
  EXPECT_EQ(body["choices"][1]["prompt_token_ids"], json({1, 2, 3}));
  EXPECT_EQ(body["choices"][2]["prompt_token_ids"], json({4, 5}));
  EXPECT_EQ(body["choices"][3]["index"], 3);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 5);  // each prompt once
  EXPECT_EQ(body["usage"]["completion_tokens"], 12);
}

// Of what the choices of a prompt find, one may have computed it for the others.
TEST_F(CompletionsContract, TellsWhatWasCachedOfEachPromptBeforeTheRequest) {
  for (const uint32_t num_cached : {128u, 64u, 128u}) {
    FakeAnswer answer;
    answer.token_ids = {7, 8, 9};
    answer.num_cached = num_cached;
    scheduler().PushAnswer(answer);
  }
  const json prompt(std::vector<int>(130, 5));
  const json body = Complete({{"prompt", prompt}, {"n", 3}, {"max_tokens", 3}});
  EXPECT_EQ(body["usage"]["prompt_tokens"], 130);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 64);
  EXPECT_EQ(Complete({{"prompt", prompt}})["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST_F(CompletionsContract, EchoPutsThePromptBeforeTheText) {
  Answer(" two");
  EXPECT_EQ(Complete({{"prompt", "one"}, {"echo", true}})["choices"][0]["text"], "one two");
}

TEST_F(CompletionsContract, EchoWithoutTokensShowsThePromptOnly) {
  const json body = Complete({{"prompt", "one"}, {"echo", true}, {"max_tokens", 0}});
  EXPECT_EQ(body["choices"][0]["text"], "one");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  EXPECT_EQ(body["usage"]["total_tokens"], body["usage"]["prompt_tokens"]);
}

TEST_F(CompletionsContract, StreamedEchoWithoutTokensIsTheWholeAnswers) {
  Answer(" two");  // ends with "stop"
  const TestHttpResponse response =
      Post("/v1/completions",
           {{"prompt", "one"},
            {"echo", true},
            {"max_tokens", 0},
            {"stream", true},
            {"stream_options", {{"include_usage", true}, {"continuous_usage_stats", true}}},
            {"return_token_ids", true}});
  const json choice = json::parse(response.Events().at(0))["choices"][0];
  EXPECT_EQ(choice["text"], "one");
  EXPECT_EQ(choice["token_ids"], json::array());
  const auto events = response.Events();
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(json::parse(events[events.size() - 3])["choices"][0]["finish_reason"], "length");
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(json::parse(events[i])["usage"]["completion_tokens"], 0);
  }
  EXPECT_EQ(events.back(), "[DONE]");
}

TEST_F(CompletionsContract, EchoOfATruncatedPromptIsWhatIsLeftOfIt) {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  const std::vector<uint32_t> whole = Tokens(text);
  const auto echo = [&](const json& members) {
    json body = {{"prompt", text}, {"echo", true}, {"max_tokens", 0}, {"return_token_ids", true}};
    body.update(members);
    const json choice = Complete(body)["choices"][0];
    EXPECT_EQ(choice["prompt_token_ids"].size(), 3u);
    return choice["text"].get<std::string>();
  };
  EXPECT_EQ(echo({{"truncate_prompt_tokens", 3}}), Text({whole.end() - 3, whole.end()}));
  // With the token that begins every text, which is not the client's.
  const json right = {{"truncate_prompt_tokens", 3}, {"truncation_side", "right"}};
  EXPECT_TRUE(text.starts_with(echo(right)));
  json ids = right;
  ids["prompt"] = whole;
  EXPECT_EQ(echo(ids), Text({whole.begin(), whole.begin() + 3}));
}

TEST_F(CompletionsContract, ContinuousUsageIsThatOfTheChunksChoice) {
  for (const int interval : {1, 2}) {
    const TestHttpResponse response =
        Post("/v1/completions",
             {{"prompt", {{1, 2, 3}, {4, 5}}},
              {"n", 2},
              {"max_tokens", 4},
              {"ignore_eos", true},
              {"stream", true},
              {"stream_interval", interval},
              {"stream_options", {{"include_usage", true}, {"continuous_usage_stats", true}}}});
    std::vector<std::string> events = response.Events();
    // Each of four choices has one event at least: tokens that wait for each other come together.
    ASSERT_GE(events.size(), 6u);
    ASSERT_EQ(events.back(), "[DONE]");
    events.pop_back();
    const json total = json::parse(events.back())["usage"];
    events.pop_back();
    EXPECT_EQ(total["prompt_tokens"], 5);
    EXPECT_EQ(total["completion_tokens"], 16);
    std::vector<int> counts(4);
    for (const std::string& event : events) {
      const json chunk = json::parse(event);
      const int index = chunk["choices"][0]["index"];
      const json& usage = chunk["usage"];
      EXPECT_EQ(usage["prompt_tokens"], index < 2 ? 3 : 2) << event;
      EXPECT_GE(usage["completion_tokens"], counts[index]) << event;
      counts[index] = usage["completion_tokens"];
      EXPECT_EQ(usage["total_tokens"], counts[index] + (index < 2 ? 3 : 2)) << event;
    }
    EXPECT_EQ(counts, std::vector<int>(4, 4));
  }
}

TEST_F(CompletionsContract, LogprobsHaveOneEntryPerToken) {
  Answer("red green");
  const json body = Complete({{"prompt", "x"}, {"logprobs", 2}});
  const json& logprobs = body["choices"][0]["logprobs"];
  const size_t count = Tokens("red green").size();
  for (const char* list : {"tokens", "token_logprobs", "text_offset", "top_logprobs"}) {
    EXPECT_EQ(logprobs[list].size(), count) << list;
  }
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  EXPECT_EQ(logprobs["text_offset"][1], logprobs["tokens"][0].get<std::string>().size());
}

TEST_F(CompletionsContract, TokensCanBeNamedById) {
  Answer("red");
  const json body =
      Complete({{"prompt", "x"}, {"logprobs", 0}, {"return_tokens_as_token_ids", true}});
  EXPECT_EQ(body["choices"][0]["logprobs"]["tokens"][0],
            "token_id:" + std::to_string(Tokens("red")[0]));
}

TEST_F(CompletionsContract, StopParametersReachTheScheduler) {
  Complete({{"prompt", "x"},
            {"max_tokens", 9},
            {"min_tokens", 3},
            {"ignore_eos", true},
            {"stop_token_ids", {7, 8}},
            {"temperature", 0},
            {"presence_penalty", 0.5},
            {"logit_bias", {{"5", 3.5}}}});
  const v1::SubmitRequest request = scheduler().requests()[0];
  EXPECT_EQ(request.stop().max_tokens(), 9);
  EXPECT_EQ(request.stop().min_tokens(), 3);
  EXPECT_TRUE(request.stop().ignore_eos());
  EXPECT_EQ(request.stop().stop_token_ids_size(), 2);
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_EQ(request.sampling().top_p(), 1);  // filters mean nothing to greedy
  EXPECT_FLOAT_EQ(request.sampling().presence_penalty(), 0.5f);
  ASSERT_EQ(request.sampling().logit_bias_size(), 1);
  EXPECT_EQ(request.sampling().logit_bias(0).token_id(), 5);
}

TEST_F(CompletionsContract, TheTokenThatEndsIsNoText) {
  const uint32_t stop = Tokens(" end")[0];
  FakeAnswer answer;
  answer.token_ids = Tokens("the");
  answer.token_ids.push_back(stop);
  scheduler().PushAnswer(answer);
  const json body = Complete({{"prompt", "x"}, {"stop_token_ids", {stop}}});
  EXPECT_EQ(body["choices"][0]["text"], "the");
  EXPECT_EQ(body["usage"]["completion_tokens"], answer.token_ids.size());
}

TEST_F(CompletionsContract, StreamAddsUpToTheWholeText) {
  Answer("日本語 and emoji 🎉 done");
  const TestHttpResponse response =
      Post("/v1/completions", {{"prompt", "x"}, {"stream", true}, {"max_tokens", 100}});
  ASSERT_EQ(response.status, 200) << response.body;
  std::string text;
  std::string finish;
  for (const std::string& event : response.Events()) {
    if (event == "[DONE]") break;
    const json choice = json::parse(event)["choices"][0];
    text += choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
  }
  EXPECT_EQ(text, "日本語 and emoji 🎉 done");
  EXPECT_EQ(finish, "stop");
  EXPECT_EQ(response.Events().back(), "[DONE]");
}

}  // namespace
}  // namespace baton::gateway
