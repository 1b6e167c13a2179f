// prompt_logprobs of chat and text completions: what is asked of the scheduler, what is answered.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;

class PromptLogprobsContract : public GatewayFixture {
 protected:
  void SetUp() override {
    StartGateway();
    AwaitReady(200);
  }
  json Ask(const std::string& path, const json& body) {
    const TestHttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    return json::parse(response.body);
  }
  std::vector<uint32_t> Submitted(size_t index) {
    const v1::SubmitRequest request = scheduler().requests().at(index);
    return {request.prompt_token_ids().begin(), request.prompt_token_ids().end()};
  }
  json Entry(uint32_t token_id, float logprob, uint32_t rank) {
    return {{"logprob", logprob}, {"rank", rank}, {"decoded_token", Text({token_id})}};
  }

  // What the fake scheduler says of the tokens of `prompt`: each has rank 2, behind one that the
  // fake prefers.
  void ExpectPositions(const json& positions, const std::vector<uint32_t>& prompt, size_t num_top) {
    ASSERT_EQ(positions.size(), prompt.size());
    EXPECT_TRUE(positions[0].is_null()) << "nothing predicts it";
    for (size_t i = 1; i < prompt.size(); ++i) {
      const json& position = positions[i];
      EXPECT_EQ(position[absl::StrCat(prompt[i])], Entry(prompt[i], -2.0f, 2)) << i;
      EXPECT_EQ(position.size(), 1 + (num_top > 0 ? 1 : 0) + (num_top > 2 ? num_top - 2 : 0)) << i;
      if (num_top == 0) continue;
      const uint32_t best = FakeScheduler::PreferredOver(prompt[i]);
      EXPECT_EQ(position[absl::StrCat(best)], Entry(best, -0.25f, 1)) << i;
    }
  }
};

TEST_F(PromptLogprobsContract, ChatTellsThemOfEveryTokenButTheFirst) {
  Answer("</think>42");
  json body = ChatBody();
  body["prompt_logprobs"] = 1;
  const json answer = Ask("/v1/chat/completions", body);
  EXPECT_EQ(scheduler().requests()[0].sampling().num_prompt_logprobs(), 1u);
  EXPECT_FALSE(scheduler().requests()[0].sampling().logprobs()) << "of the answer none";
  ExpectPositions(answer["prompt_logprobs"], Submitted(0), 1);
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
}

TEST_F(PromptLogprobsContract, CompletionsTellThemOfEachPrompt) {
  const json answer =
      Ask("/v1/completions",
          {{"prompt", {"The quick fox", "jumps over"}}, {"max_tokens", 2}, {"prompt_logprobs", 4}});
  ASSERT_EQ(answer["choices"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const std::vector<uint32_t> prompt = Tokens(i == 0 ? "The quick fox" : "jumps over");
    ASSERT_GT(prompt.size(), 1u);
    ExpectPositions(answer["choices"][i]["prompt_logprobs"], prompt, 4);
  }
}

TEST_F(PromptLogprobsContract, ZeroIsTheTokensOwnAlone) {
  const json answer =
      Ask("/v1/completions", {{"prompt", {5, 6, 7}}, {"max_tokens", 1}, {"prompt_logprobs", 0}});
  EXPECT_TRUE(scheduler().requests()[0].sampling().has_num_prompt_logprobs());
  ExpectPositions(answer["choices"][0]["prompt_logprobs"], {5, 6, 7}, 0);
}

TEST_F(PromptLogprobsContract, APromptOfOneTokenHasNone) {
  const json answer =
      Ask("/v1/completions", {{"prompt", {5}}, {"max_tokens", 1}, {"prompt_logprobs", 1}});
  EXPECT_EQ(answer["choices"][0]["prompt_logprobs"], json::array({nullptr}));
}

TEST_F(PromptLogprobsContract, EveryChoiceOfAPromptHasThem) {
  const json answer = Ask(
      "/v1/completions",
      {{"prompt", {5, 6, 7}}, {"max_tokens", 1}, {"n", 2}, {"seed", 3}, {"prompt_logprobs", 1}});
  ASSERT_EQ(answer["choices"].size(), 2u);
  for (const json& choice : answer["choices"]) {
    ExpectPositions(choice["prompt_logprobs"], {5, 6, 7}, 1);
  }
}

TEST_F(PromptLogprobsContract, NobodyAskedNobodyIsTold) {
  Answer("</think>42");
  EXPECT_TRUE(Ask("/v1/chat/completions", ChatBody())["prompt_logprobs"].is_null());
  const json answer = Ask("/v1/completions", {{"prompt", {5, 6}}, {"max_tokens", 1}});
  EXPECT_TRUE(answer["choices"][0]["prompt_logprobs"].is_null());
  for (const auto& request : scheduler().requests()) {
    EXPECT_FALSE(request.sampling().has_num_prompt_logprobs());
  }
}

// As vLLM does.
TEST_F(PromptLogprobsContract, EchoedPromptsHaveThemAmongTheLogprobsToo) {
  const json answer =
      Ask("/v1/completions",
          {{"prompt", {5, 6, 7}}, {"max_tokens", 1}, {"echo", true}, {"logprobs", 1}});
  const json& choice = answer["choices"][0];
  const json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["token_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["token_logprobs"][1], -2.0);
  EXPECT_EQ(logprobs["token_logprobs"].size(), 4u) << "three of the prompt, one of the answer";
  EXPECT_EQ(logprobs["top_logprobs"][2].size(), 2u) << "its own and the preferred one";
  ExpectPositions(choice["prompt_logprobs"], {5, 6, 7}, 1);
}

TEST_F(PromptLogprobsContract, StreamsAndTooManyAreRefused) {
  for (const std::string path : {"/v1/chat/completions", "/v1/completions"}) {
    json body = ChatBody();
    body["prompt"] = "x";
    for (const json& wrong : {json(21), json(-2), json("some")}) {
      body["prompt_logprobs"] = wrong;
      EXPECT_EQ(ErrorOf(Post(path, body), 400)["param"], "prompt_logprobs") << path << wrong;
    }
    body["prompt_logprobs"] = 1;
    body["stream"] = true;
    EXPECT_EQ(ErrorOf(Post(path, body), 400)["param"], "prompt_logprobs") << path;
  }
  EXPECT_TRUE(scheduler().requests().empty());
}

}  // namespace
}  // namespace baton::gateway
