// Flags of vLLM that the gateway serves: what they change in answers.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class VllmFlagsContract : public GatewayFixture {
 protected:
  void Start(const std::function<void(GatewayConfig&)>& adjust) {
    StartGateway(adjust);
    AwaitReady(200);
  }
};

TEST_F(VllmFlagsContract, MaxLogprobsIsTheMostThatMayBeAskedFor) {
  Start([](GatewayConfig& config) { config.caps.num_top_logprobs = 2; });
  json body = ChatBody();
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  EXPECT_EQ(Post("/v1/chat/completions", body).status, 200);
  body["top_logprobs"] = 3;
  const json error = ErrorOf(Post("/v1/chat/completions", body), 400);
  EXPECT_EQ(error["param"], "top_logprobs");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("2"));
}

TEST_F(VllmFlagsContract, ForcedUsageIsInEveryChunkOfAStream) {
  Start([](GatewayConfig& config) { config.force_include_usage = true; });
  json chat = ChatBody();
  chat["stream"] = true;
  chat["stream_options"] = {{"include_usage", false}};
  for (const auto& [path, body] :
       {std::pair<const char*, json>{"/v1/chat/completions", chat},
        {"/v1/completions", {{"prompt", "x"}, {"max_tokens", 3}, {"stream", true}}}}) {
    const auto events = Post(path, body).Events();
    ASSERT_GE(events.size(), 3u) << path;
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      EXPECT_TRUE(json::parse(events[i])["usage"].is_object()) << path << events[i];
    }
    EXPECT_TRUE(json::parse(events[events.size() - 2])["choices"].empty()) << path;
  }
}

TEST_F(VllmFlagsContract, WithoutTheGenerationConfigDefaultsAreNeutral) {
  const auto sampling = [this] {
    EXPECT_EQ(Post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 3}}).status, 200);
    return scheduler().requests().at(0).sampling();
  };
  Start(nullptr);
  EXPECT_FLOAT_EQ(sampling().top_p(), 0.95f);
  StopGateway();
  Start([](GatewayConfig& config) { config.model.reads_generation_config = false; });
  const v1::SamplingParams neutral = sampling();
  EXPECT_FLOAT_EQ(neutral.top_p(), 1);
  EXPECT_FLOAT_EQ(neutral.temperature(), 1);
}

}  // namespace
}  // namespace baton::gateway
