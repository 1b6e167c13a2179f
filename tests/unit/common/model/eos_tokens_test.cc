#include "common/model/eos_tokens.h"

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace baton {
namespace {

class EosTokens : public testing::Test {
 protected:
  EosTokens() {
    config_.vocab_size = 100;
    config_.eos_token_ids = {7};
    std::filesystem::create_directories(directory_);
  }
  ~EosTokens() override { std::filesystem::remove_all(directory_); }

  void WriteGenerationConfig(const std::string& text) {
    std::ofstream(directory_ + "/generation_config.json") << text;
  }

  ModelConfig config_;
  const std::string directory_ = testing::TempDir() + "eos_tokens_test";
};

TEST_F(EosTokens, ComeFromTheModelAlone) {
  EXPECT_EQ(ReadEosTokenIds(config_, directory_).value(), (std::vector<uint32_t>{7}));
}

TEST_F(EosTokens, JoinBothFiles) {
  WriteGenerationConfig(R"({"eos_token_id": [9, 7, 3]})");
  EXPECT_EQ(ReadEosTokenIds(config_, directory_).value(), (std::vector<uint32_t>{3, 7, 9}));
  WriteGenerationConfig(R"({"eos_token_id": 5})");
  EXPECT_EQ(ReadEosTokenIds(config_, directory_).value(), (std::vector<uint32_t>{5, 7}));
  WriteGenerationConfig(R"({"temperature": 0.6})");
  EXPECT_EQ(ReadEosTokenIds(config_, directory_).value(), (std::vector<uint32_t>{7}));
}

TEST_F(EosTokens, RefuseWhatIsNoToken) {
  for (const char* text : {"[1", "[]", R"({"eos_token_id": -1})", R"({"eos_token_id": 100})",
                           R"({"eos_token_id": "x"})", R"({"eos_token_id": [1, 2.5]})"}) {
    WriteGenerationConfig(text);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadEosTokenIds(config_, directory_).status())) << text;
  }
}

}  // namespace
}  // namespace baton
