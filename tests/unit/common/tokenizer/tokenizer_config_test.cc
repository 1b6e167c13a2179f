#include "common/tokenizer/tokenizer_config.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

TEST(TokenizerConfig, ReadsTokensInBothForms) {
  const auto config = ParseTokenizerConfig(
      R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null,
          "add_bos_token": true, "model_max_length": 16384, "chat_template": "{{ x }}"})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->bos_token, "<s>");
  EXPECT_EQ(config->eos_token, "</s>");
  EXPECT_EQ(config->pad_token, "");
  EXPECT_TRUE(config->add_bos_token);
  EXPECT_EQ(config->model_max_length, 16384);
  EXPECT_EQ(config->chat_template, "{{ x }}");
}

TEST(TokenizerConfig, TakesTheDefaultOfNamedTemplates) {
  const auto config = ParseTokenizerConfig(
      R"({"chat_template": [{"name": "tool_use", "template": "a"},
                            {"name": "default", "template": "b"}], "model_max_length": 1e30})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->chat_template, "b");
  EXPECT_EQ(config->model_max_length, 0);
}

TEST(TokenizerConfig, NamesTheKeyThatIsWrong) {
  for (const std::string key :
       {"bos_token", "add_bos_token", "model_max_length", "chat_template"}) {
    const auto config = ParseTokenizerConfig("{\"" + key + "\": {}}");
    ASSERT_FALSE(config.ok());
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(key));
  }
  EXPECT_FALSE(ParseTokenizerConfig("[]").ok());
  EXPECT_FALSE(ParseTokenizerConfig("{").ok());
}

TEST(TokenizerConfig, LoadsAModelFolder) {
  const auto model = LoadModelText(BATON_SOURCE_DIR "/tests/data/tiny-r1");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->tokenizer->vocab_size(), 2048u);
  EXPECT_EQ(model->tokenizer->TokenId(model->config.eos_token), 1u);
  EXPECT_THAT(model->config.chat_template, HasSubstr("<think>"));
  EXPECT_TRUE(absl::IsNotFound(LoadModelText("/nowhere").status()));
}

}  // namespace
}  // namespace baton
