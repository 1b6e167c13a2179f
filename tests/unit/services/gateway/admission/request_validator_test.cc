#include "services/gateway/admission/request_validator.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

RequestValidator MakeValidator() {
  SamplingDefaults defaults;
  defaults.temperature = 0.6;
  defaults.top_p = 0.95;
  return RequestValidator(defaults, {.max_model_len = 100, .vocab_size = 50});
}

TEST(RequestValidator, FillsInTheModelsDefaults) {
  const auto params = MakeValidator().Admit({});
  ASSERT_TRUE(params.ok()) << params.status();
  EXPECT_EQ(params->temperature, 0.6);
  EXPECT_EQ(params->top_p, 0.95);
  EXPECT_EQ(params->top_k, 0u);
  EXPECT_EQ(params->repetition_penalty, 1.0);
  EXPECT_EQ(params->num_choices, 1u);
  EXPECT_FALSE(params->max_tokens.has_value());
}

TEST(RequestValidator, RefusesEveryValueOutsideItsRange) {
  struct Case {
    const char* field;
    std::function<void(RequestedParams&)> set;
  };
  const double nan = std::nan("");
  const Case cases[] = {
      {"temperature", [](RequestedParams& p) { p.temperature = -0.1; }},
      {"temperature", [](RequestedParams& p) { p.temperature = 2.01; }},
      {"temperature", [=](RequestedParams& p) { p.temperature = nan; }},
      {"temperature", [](RequestedParams& p) { p.temperature = kInfinity; }},
      {"top_p", [](RequestedParams& p) { p.top_p = 0; }},
      {"top_p", [](RequestedParams& p) { p.top_p = 1.01; }},
      {"top_k", [](RequestedParams& p) { p.top_k = -2; }},
      {"top_k", [](RequestedParams& p) { p.top_k = kHuge; }},
      {"min_p", [](RequestedParams& p) { p.min_p = -0.1; }},
      {"min_p", [=](RequestedParams& p) { p.min_p = nan; }},
      {"presence_penalty", [](RequestedParams& p) { p.presence_penalty = 2.1; }},
      {"frequency_penalty", [](RequestedParams& p) { p.frequency_penalty = -2.1; }},
      {"repetition_penalty", [](RequestedParams& p) { p.repetition_penalty = 0; }},
      {"repetition_penalty", [](RequestedParams& p) { p.repetition_penalty = kInfinity; }},
      {"n", [](RequestedParams& p) { p.num_choices = 0; }},
      {"n", [](RequestedParams& p) { p.num_choices = 9; }},
      {"n", [](RequestedParams& p) { p.num_choices = 2, p.temperature = 0; }},
      {"max_tokens", [](RequestedParams& p) { p.max_tokens = 0; }},
      {"max_tokens", [](RequestedParams& p) { p.max_tokens = -5; }},
      {"max_tokens", [](RequestedParams& p) { p.max_tokens = kHuge; }},
      {"min_tokens", [](RequestedParams& p) { p.min_tokens = -1; }},
      {"min_tokens", [](RequestedParams& p) { p.min_tokens = 6, p.max_tokens = 5; }},
      {"stop",
       [](RequestedParams& p) {
         p.stop = {"a", "b", "c", "d", "e"};
       }},
      {"stop", [](RequestedParams& p) { p.stop = {""}; }},
      {"stop", [](RequestedParams& p) { p.stop = {std::string(257, 'x')}; }},
      {"stop_token_ids", [](RequestedParams& p) { p.stop_token_ids = {50}; }},
      {"stop_token_ids", [](RequestedParams& p) { p.stop_token_ids = {-1}; }},
      {"stop_token_ids", [](RequestedParams& p) { p.stop_token_ids.assign(1025, 1); }},
      {"top_logprobs", [](RequestedParams& p) { p.num_top_logprobs = 21; }},
      {"top_logprobs", [](RequestedParams& p) { p.num_top_logprobs = -1; }},
      {"prompt_logprobs", [](RequestedParams& p) { p.num_prompt_logprobs = 21; }},
      {"logit_bias",
       [](RequestedParams& p) {
         p.logit_bias = {{50, 1.0}};
       }},
      {"logit_bias",
       [=](RequestedParams& p) {
         p.logit_bias = {{1, nan}};
       }},
      {"logit_bias",
       [](RequestedParams& p) {
         p.logit_bias.assign(1025, {1, 1.0});
       }},
      {"allowed_token_ids", [](RequestedParams& p) { p.allowed_token_ids.emplace(); }},
      {"allowed_token_ids",
       [](RequestedParams& p) {
         p.allowed_token_ids = {{7, kHuge}};
       }},
      {"priority", [](RequestedParams& p) { p.priority = kHuge; }},
      {"cache_salt", [](RequestedParams& p) { p.cache_salt = std::string(257, 'x'); }},
  };
  const RequestValidator validator = MakeValidator();
  for (const Case& test : cases) {
    RequestedParams params;
    test.set(params);
    const auto admitted = validator.Admit(params);
    EXPECT_EQ(admitted.status().code(), absl::StatusCode::kInvalidArgument) << test.field;
    EXPECT_EQ(RefusedField(admitted.status()), test.field);
  }
}

TEST(RequestValidator, AcceptsTheEdgesOfEveryRange) {
  RequestedParams params;
  params.temperature = 2;
  params.top_p = 1;
  params.top_k = -1;
  params.min_p = 1;
  params.presence_penalty = -2;
  params.frequency_penalty = 2;
  params.num_choices = 8;
  params.max_tokens = 1;
  params.min_tokens = 1;
  params.stop = {std::string(256, 'x'), "b", "c", "d"};
  params.stop_token_ids = {0, 49};
  params.num_top_logprobs = 20;
  params.logit_bias = {{49, 1000.0}};
  const auto admitted = MakeValidator().Admit(params);
  ASSERT_TRUE(admitted.ok()) << admitted.status();
  EXPECT_EQ(admitted->top_k, 0u);
  EXPECT_EQ(admitted->logit_bias[0].bias, 100.0);
}

TEST(RequestValidator, WordsAreBannedWithoutTheWhiteSpaceBeforeThem) {
  RequestedParams params;
  params.bad_words = {"  a b ", std::string(256, 'x')};
  const auto admitted = MakeValidator().Admit(params);
  ASSERT_TRUE(admitted.ok()) << admitted.status();
  EXPECT_EQ(admitted->bad_words[0], "a b ");
  const std::vector<std::string> wrong[] = {
      {"a", " \n"}, {std::string(257, 'x')}, std::vector<std::string>(129, "x")};
  for (const std::vector<std::string>& words : wrong) {
    params.bad_words = words;
    EXPECT_EQ(RefusedField(MakeValidator().Admit(params).status()), "bad_words");
  }
}

TEST(RequestValidator, OnlyAModelThatReasonsHasABudget) {
  RequestedParams params;
  params.thinking_token_budget = -1;  // none
  EXPECT_EQ(MakeValidator().Admit(params)->thinking_token_budget, std::nullopt);
  const RequestValidator reasoning(
      {},
      {.max_model_len = 100, .vocab_size = 50, .reasoning = ReasoningTokens{.begin = 3, .end = 4}});
  EXPECT_EQ(reasoning.Admit(params)->thinking_token_budget, std::nullopt);
  params.thinking_token_budget = 0;
  EXPECT_EQ(reasoning.Admit(params)->thinking_token_budget, 0u);
  EXPECT_EQ(RefusedField(MakeValidator().Admit(params).status()), "thinking_token_budget");
  for (const int64_t wrong : {int64_t{-2}, kHuge}) {
    params.thinking_token_budget = wrong;
    EXPECT_EQ(RefusedField(reasoning.Admit(params).status()), "thinking_token_budget");
  }
}

TEST(RequestValidator, TinyTemperaturesAreGreedyOrRaised) {
  RequestedParams params;
  params.temperature = 1e-6;
  EXPECT_EQ(MakeValidator().Admit(params)->temperature, 0);
  params.temperature = 0.001;
  EXPECT_EQ(MakeValidator().Admit(params)->temperature, 0.01);
}

TEST(RequestValidator, ResolvesMaxTokensAgainstTheContext) {
  const RequestValidator validator = MakeValidator();
  AdmittedParams params;
  params.max_tokens_field = "max_tokens";
  EXPECT_EQ(*validator.ResolveMaxTokens(params, "prompt", 40), 60u);
  params.max_tokens = 60;
  EXPECT_EQ(*validator.ResolveMaxTokens(params, "prompt", 40), 60u);
  const auto too_many = validator.ResolveMaxTokens(params, "prompt", 41);
  EXPECT_EQ(RefusedField(too_many.status()), "max_tokens");
  EXPECT_EQ(RefusalReason(too_many.status()), "context_length_exceeded");
  const auto too_long = validator.ResolveMaxTokens(params, "prompt", 100);
  EXPECT_EQ(RefusedField(too_long.status()), "prompt");
  EXPECT_EQ(RefusedField(validator.ResolveMaxTokens(params, "prompt", 0).status()), "prompt");
}

TEST(RequestValidator, CapsPromptLogprobsAtWhatOneMessageHolds) {
  const RequestValidator validator({}, {.max_model_len = 200'000, .vocab_size = 50});
  AdmittedParams params;
  params.num_prompt_logprobs = 20;
  EXPECT_TRUE(validator.ResolveMaxTokens(params, "prompt", 19'047).ok());
  const auto refused = validator.ResolveMaxTokens(params, "prompt", 19'048);
  EXPECT_EQ(RefusedField(refused.status()), "prompt_logprobs");
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("400008"));
  params.num_prompt_logprobs = 0;
  EXPECT_TRUE(validator.ResolveMaxTokens(params, "prompt", 160'000).ok());
}

TEST(RequestValidator, CapsPromptsTimesChoices) {
  const RequestValidator validator = MakeValidator();
  EXPECT_TRUE(validator.CheckSequenceCount(64, 2).ok());
  EXPECT_TRUE(validator.CheckSequenceCount(16, 8).ok());
  EXPECT_EQ(RefusedField(validator.CheckSequenceCount(64, 3)), "n");
}

TEST(RequestValidator, FollowsTheGroupsContextLength) {
  RequestValidator validator({}, {.max_model_len = 100, .vocab_size = 50});
  validator.SetMaxModelLen(30);
  EXPECT_EQ(*validator.ResolveMaxTokens({}, "prompt", 20), 10u);
}

TEST(RequestValidator, ChecksPromptTokens) {
  const RequestValidator validator = MakeValidator();
  EXPECT_TRUE(validator.AdmitPromptTokens("prompt", {0, 49}).ok());
  EXPECT_FALSE(validator.AdmitPromptTokens("prompt", {}).ok());
  EXPECT_FALSE(validator.AdmitPromptTokens("prompt", {50}).ok());
  EXPECT_FALSE(validator.AdmitPromptTokens("prompt", {-1}).ok());
}

TEST(RequestValidator, CapsMessagesAndPrompts) {
  const RequestValidator validator = MakeValidator();
  EXPECT_TRUE(validator.CheckMessageCount(2048).ok());
  EXPECT_FALSE(validator.CheckMessageCount(2049).ok());
  EXPECT_FALSE(validator.CheckMessageCount(0).ok());
  EXPECT_TRUE(validator.CheckPromptCount(64).ok());
  EXPECT_FALSE(validator.CheckPromptCount(65).ok());
}

}  // namespace
}  // namespace baton::gateway
