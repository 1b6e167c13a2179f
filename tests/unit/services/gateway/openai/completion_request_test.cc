#include "services/gateway/openai/completion_request.h"

#include <variant>
#include <vector>

#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

absl::StatusOr<CompletionRequest> Parse(const char* body) {
  static const RequestValidator validator({}, {.max_model_len = 100, .vocab_size = 50});
  return ParseCompletionRequest(body, validator);
}

TEST(CompletionRequest, TellsTheFourFormsOfPromptsApart) {
  EXPECT_EQ(std::get<std::string>(Parse(R"({"prompt":"a"})")->prompts.at(0)), "a");
  EXPECT_EQ(Parse(R"({"prompt":["a","b"]})")->prompts.size(), 2u);
  EXPECT_EQ(std::get<std::vector<int64_t>>(Parse(R"({"prompt":[1,2]})")->prompts.at(0)),
            (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(Parse(R"({"prompt":[[1],[2,3],"c"]})")->prompts.size(), 3u);
}

TEST(CompletionRequest, AnEmptyPromptIsRefusedWhateverTokensItWouldGet) {
  for (const char* prompt : {R"({"prompt":""})", R"({"prompt":["a",""]})", R"({"prompt":[]})"}) {
    EXPECT_EQ(RefusedField(Parse(prompt).status()), "prompt") << prompt;
  }
}

TEST(CompletionRequest, MaxTokensIs16UnlessSaid) {
  EXPECT_EQ(Parse(R"({"prompt":"a"})")->params.max_tokens, 16);
  EXPECT_EQ(Parse(R"({"prompt":"a","max_tokens":null})")->params.max_tokens, 16);
  EXPECT_EQ(Parse(R"({"prompt":"a","max_tokens":5})")->params.max_tokens, 5);
  const auto echo = Parse(R"({"prompt":"a","max_tokens":0,"echo":true})");
  EXPECT_TRUE(echo->echo_only);
  EXPECT_EQ(echo->params.max_tokens, 1);
}

TEST(CompletionRequest, EchoedLogprobsCoverThePrompt) {
  EXPECT_EQ(Parse(R"({"prompt":"a","echo":true,"logprobs":2})")->params.num_prompt_logprobs, 2);
  EXPECT_FALSE(Parse(R"({"prompt":"a","logprobs":2})")->params.num_prompt_logprobs.has_value());
}

TEST(CompletionRequest, SeedMinusOneIsNone) {
  EXPECT_FALSE(Parse(R"({"prompt":"a","seed":-1})")->params.seed.has_value());
  EXPECT_EQ(Parse(R"({"prompt":"a","seed":7})")->params.seed, 7u);
}

TEST(CompletionRequest, NeutralValuesOfUnsupportedFieldsPass) {
  EXPECT_TRUE(Parse(R"({"prompt":"a","best_of":1,"suffix":"","use_beam_search":false,
                        "response_format":{"type":"text"},"guided_json":null,"user":"u"})")
                  .ok());
  EXPECT_EQ(RefusedField(Parse(R"({"prompt":"a","use_beam_search":true})").status()),
            "use_beam_search");
}

}  // namespace
}  // namespace baton::gateway
