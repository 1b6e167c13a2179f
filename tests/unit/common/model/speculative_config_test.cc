#include "common/model/speculative_config.h"

#include <string>

#include "gtest/gtest.h"

namespace baton {
namespace {

ModelConfig WithMtp(int64_t num_modules) {
  ModelConfig model;
  model.num_mtp_layers = num_modules;
  return model;
}

std::string RefusalOf(absl::string_view text, int64_t num_modules = 1) {
  const auto number = ParseSpeculativeConfig(text, WithMtp(num_modules));
  EXPECT_TRUE(absl::IsInvalidArgument(number.status())) << text;
  return std::string(number.status().message());
}

TEST(SpeculativeConfig, IsOffWhereNothingIsSaid) {
  EXPECT_EQ(ParseSpeculativeConfig("", WithMtp(0)).value(), 0u);
}

TEST(SpeculativeConfig, TakesTheFormOfVllm) {
  EXPECT_EQ(
      ParseSpeculativeConfig(R"({"method":"mtp","num_speculative_tokens":3})", WithMtp(1)).value(),
      3u);
  EXPECT_EQ(ParseSpeculativeConfig(R"({"method": "deepseek_mtp"})", WithMtp(1)).value(), 1u);
}

TEST(SpeculativeConfig, NamesWhatItDoesNotSupport) {
  EXPECT_NE(RefusalOf(R"({"method":"eagle3","num_speculative_tokens":1})").find("\"eagle3\""),
            std::string::npos);
  EXPECT_NE(RefusalOf(R"({"method":"mtp","model":"x"})").find("\"model\" is not supported"),
            std::string::npos);
  EXPECT_NE(RefusalOf(R"({"num_speculative_tokens":1})").find("\"method\" is missing"),
            std::string::npos);
  EXPECT_NE(RefusalOf("mtp").find("no JSON object"), std::string::npos);
  EXPECT_NE(RefusalOf("[1]").find("no JSON object"), std::string::npos);
  EXPECT_NE(RefusalOf(R"({"method":"mtp"})", 0).find("no MTP module"), std::string::npos);
}

TEST(SpeculativeConfig, BoundsTheNumberOfTokens) {
  for (const char* number : {"0", "-1", "9", "1.5", "\"1\"", "1e30", "18446744073709551615"}) {
    const std::string text =
        std::string(R"({"method":"mtp","num_speculative_tokens":)") + number + "}";
    EXPECT_NE(RefusalOf(text).find("1 to 8"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace baton
