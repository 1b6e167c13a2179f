#include "services/gateway/model/generation_config.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(GenerationConfig, TakesWhatTheModelSays) {
  const auto defaults = ParseGenerationConfig(
      R"({"temperature":0.6,"top_p":0.95,"top_k":20,"max_new_tokens":512,"do_sample":true})");
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->temperature, 0.6);
  EXPECT_EQ(defaults->top_p, 0.95);
  EXPECT_EQ(defaults->top_k, 20);
  EXPECT_EQ(defaults->max_new_tokens, 512);
  EXPECT_EQ(defaults->min_p, 0);
}

TEST(GenerationConfig, NamesAWrongKey) {
  const auto wrong = ParseGenerationConfig(R"({"temperature":"warm"})");
  EXPECT_THAT(std::string(wrong.status().message()), testing::HasSubstr("temperature"));
  EXPECT_FALSE(ParseGenerationConfig("[]").ok());
}

}  // namespace
}  // namespace baton::gateway
