#include "services/model_loader/format/checkpoint_index.h"

#include <random>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace baton::loader {
namespace {

TEST(CheckpointIndex, ReadsTheWeightMap) {
  const auto entries = ParseCheckpointIndex(
      R"({"metadata": {"total_size": 5, "list": [1, {"weight_map": 2}]},
          "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}})");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].tensor, "a");
  EXPECT_EQ((*entries)[1].file, "y.safetensors");
}

TEST(CheckpointIndex, RefusesFilesOutsideOfTheFolder) {
  const std::vector<std::string> files = {"../x.safetensors",
                                          "/etc/x.safetensors",
                                          "a/../../x.safetensors",
                                          "sub/x.safetensors",
                                          "..",
                                          ".",
                                          "",
                                          "a\\u0000.safetensors",
                                          "\\u002e\\u002e/x.safetensors",
                                          "..\\u002fx.safetensors"};
  for (const std::string& file : files) {
    const auto entries =
        ParseCheckpointIndex(absl::StrCat("{\"weight_map\":{\"the.tensor\":\"", file, "\"}}"));
    ASSERT_FALSE(entries.ok()) << file;
    EXPECT_TRUE(absl::StrContains(entries.status().message(), "the.tensor")) << entries.status();
  }
}

TEST(CheckpointIndex, RefusesOtherTypesOfFile) {
  EXPECT_FALSE(ParseCheckpointIndex(R"({"weight_map":{"a":"pytorch_model.bin"}})").ok());
}

TEST(CheckpointIndex, RefusesWhatIsNoIndex) {
  const std::vector<std::string> texts = {
      "",
      "{}",
      "[]",
      "1",
      "null",
      "{\"weight_map\":",
      "{\"weight_map\":[]}",
      "{\"weight_map\":1}",
      "{\"weight_map\":null}",
      "{\"weight_map\":{\"a\":1}}",
      "{\"weight_map\":{\"a\":{}}}",
      "{\"weight_map\":{\"a\":[]}}",
      R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})",
      R"({"weight_map":{},"weight_map":{}})",
      R"({"metadata":{"weight_map":{"a":"x.safetensors"}}})"};
  for (const std::string& text : texts) {
    const auto entries = ParseCheckpointIndex(text);
    EXPECT_EQ(entries.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(CheckpointIndex, DeepNestingCostsNothing) {
  EXPECT_FALSE(ParseCheckpointIndex("{\"a\":" + std::string(200000, '[')).ok());
  EXPECT_FALSE(ParseCheckpointIndex("{\"weight_map\":{\"a\":" + std::string(200000, '[')).ok());
}

TEST(CheckpointIndex, FuzzedBytesGivePlainNamesOrAnError) {
  std::mt19937 random(99);
  const std::string base =
      R"({"metadata":{"total_size":20503324},"weight_map":{"lm_head.weight":"model-1.safetensors",)"
      R"("model.norm.weight":"model-2.safetensors","x":"..a.safetensors"}})";
  const std::string alphabet = "{}[]\",:./\\u0 \xff";
  for (int round = 0; round < 20000; ++round) {
    std::string text = base;
    for (int edit = 0; edit < 3; ++edit) {
      text[random() % text.size()] = alphabet[random() % alphabet.size()];
    }
    const auto entries = ParseCheckpointIndex(text);
    if (!entries.ok()) continue;
    for (const IndexEntry& entry : *entries) {
      ASSERT_EQ(entry.file.find('/'), std::string::npos) << text;
      ASSERT_TRUE(absl::EndsWith(entry.file, ".safetensors")) << text;
    }
  }
}

}  // namespace
}  // namespace baton::loader
