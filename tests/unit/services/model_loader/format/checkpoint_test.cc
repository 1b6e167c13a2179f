#include "services/model_loader/format/checkpoint.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "services/model_loader/format/served_model.h"
#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

using nlohmann::json;
using testing::RandomTensors;
using testing::SafetensorsFile;
using testing::SmallConfigJson;
using testing::TempFolder;
using testing::WriteCheckpoint;
using testing::WriteFile;
using testing::WrittenTensor;

absl::StatusOr<ServedModel> Open(const std::string& path) { return OpenServedModel({path}, {}); }

ModelConfig SmallConfig() { return ParseModelConfig(SmallConfigJson()).value(); }

// Expects a refusal that names every one of `words`.
void ExpectRefused(const std::string& path, absl::StatusCode code,
                   const std::vector<std::string>& words) {
  const absl::Status status = Open(path).status();
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& word : words) {
    EXPECT_TRUE(absl::StrContains(status.message(), word)) << word << " in " << status;
  }
}

// Opens a small checkpoint whose tensors were changed by `change`.
void ExpectTensorsRefused(const std::function<void(std::vector<WrittenTensor>&)>& change,
                          const std::vector<std::string>& words) {
  TempFolder temp("checkpoint_changed");
  std::vector<WrittenTensor> tensors = RandomTensors(SmallConfig(), 1);
  change(tensors);
  WriteCheckpoint(temp.path(), SmallConfigJson(), tensors, 2);
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument, words);
}

TEST(Checkpoint, OpensTheDemoModel) {
  const auto model = Open(std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->checkpoint->total_bytes(), 20503324u);
  EXPECT_EQ(model->checkpoint->tensors().size(), 973u);
  const StoredTensor* norm = model->checkpoint->Find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(norm->bytes, 512u);
  EXPECT_EQ(model->checkpoint->Find("model.norm"), nullptr);
}

TEST(Checkpoint, AFingerprintStaysUntilAFileIsWrittenToOrAnotherOne) {
  TempFolder temp("checkpoint_fingerprint");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  const std::string first = Open(temp.path())->checkpoint_fingerprint;
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(Open(temp.path())->checkpoint_fingerprint, first);
  // A copy with the times of the original.
  const std::string file = temp.File("model-1.safetensors");
  const auto written = std::filesystem::last_write_time(file);
  std::filesystem::copy_file(file, file + ".copy");
  std::filesystem::rename(file + ".copy", file);
  std::filesystem::last_write_time(file, written);
  EXPECT_EQ(Open(temp.path())->checkpoint_fingerprint, first);
  std::filesystem::last_write_time(file, written + std::chrono::nanoseconds(1));
  const std::string touched = Open(temp.path())->checkpoint_fingerprint;
  EXPECT_NE(touched, first);
  WriteFile(temp.File("config.json"), SmallConfigJson() + "\n");
  EXPECT_NE(Open(temp.path())->checkpoint_fingerprint, touched);
}

TEST(Checkpoint, AFingerprintSeesTheStartOfEveryTensorWhereTimesStandStill) {
  TempFolder temp("checkpoint_samples");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  const auto original = Open(temp.path());
  ASSERT_TRUE(original.ok()) << original.status();
  for (const StoredTensor& tensor : original->checkpoint->tensors()) {
    const std::string path = temp.File(original->checkpoint->folder().name(tensor.file));
    const auto written = std::filesystem::last_write_time(path);
    const auto flip = [&] {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(tensor.begin));
      const char changed = static_cast<char>(file.get() ^ 1);
      file.seekp(static_cast<std::streamoff>(tensor.begin));
      file.put(changed);
      file.close();
      std::filesystem::last_write_time(path, written);
    };
    flip();
    EXPECT_NE(Open(temp.path())->checkpoint_fingerprint, original->checkpoint_fingerprint)
        << tensor.name;
    flip();
    ASSERT_EQ(Open(temp.path())->checkpoint_fingerprint, original->checkpoint_fingerprint);
  }
}

TEST(Checkpoint, OpensShardsAndASingleFile) {
  for (const bool fp8 : {true, false}) {
    const std::string config_json = SmallConfigJson(fp8);
    const auto tensors = RandomTensors(ParseModelConfig(config_json).value(), 3);
    TempFolder shards("checkpoint_shards");
    WriteCheckpoint(shards.path(), config_json, tensors, 5);
    EXPECT_TRUE(Open(shards.path()).ok()) << Open(shards.path()).status();
    TempFolder single("checkpoint_single");
    WriteFile(single.File("config.json"), config_json);
    WriteFile(single.File("model.safetensors"), SafetensorsFile(tensors));
    EXPECT_TRUE(Open(single.path()).ok()) << Open(single.path()).status();
  }
}

TEST(Checkpoint, RefusesAFolderWithoutFiles) {
  TempFolder temp("checkpoint_none");
  ExpectRefused(temp.path(), absl::StatusCode::kNotFound, {"config.json"});
  WriteFile(temp.File("config.json"), SmallConfigJson());
  ExpectRefused(temp.path(), absl::StatusCode::kNotFound, {"model.safetensors.index.json"});
}

TEST(Checkpoint, NamesAMissingFileAndWhatItHolds) {
  TempFolder temp("checkpoint_vanished");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  std::filesystem::remove(temp.File("model-2.safetensors"));
  ExpectRefused(temp.path(), absl::StatusCode::kNotFound,
                {"model-2.safetensors", "holds tensor \""});
}

TEST(Checkpoint, NamesATruncatedFileAndItsTensor) {
  TempFolder temp("checkpoint_truncated");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  const std::string file = temp.File("model-2.safetensors");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  ExpectRefused(temp.path(), absl::StatusCode::kDataLoss,
                {"model-2.safetensors", "tensor \"model.layers.3", "truncated"});
  std::filesystem::resize_file(file, 100);
  ExpectRefused(temp.path(), absl::StatusCode::kDataLoss, {"model-2.safetensors", "truncated"});
  std::filesystem::resize_file(file, 3);
  ExpectRefused(temp.path(), absl::StatusCode::kDataLoss, {"model-2.safetensors"});
  std::filesystem::resize_file(file, 0);
  ExpectRefused(temp.path(), absl::StatusCode::kDataLoss, {"model-2.safetensors", "empty"});
}

TEST(Checkpoint, NamesAFileOfAnotherFormat) {
  TempFolder temp("checkpoint_magic");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  WriteFile(temp.File("model-1.safetensors"), "version https://git-lfs.github.com/spec/v1\n");
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument,
                {"model-1.safetensors", "Git LFS"});
}

TEST(Checkpoint, ReadsHeadersLongerThanTheFirstRead) {
  TempFolder temp("checkpoint_long_header");
  const auto tensors = RandomTensors(SmallConfig(), 1);
  std::string file = SafetensorsFile(tensors);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  const std::string header = file.substr(8, length) + std::string(600'000, ' ');
  WriteFile(temp.File("config.json"), SmallConfigJson());
  WriteFile(temp.File("model.safetensors"), SafetensorsFile(header, file.substr(8 + length)));
  EXPECT_TRUE(Open(temp.path()).ok()) << Open(temp.path()).status();
}

TEST(Inventory, NamesAMissingTensor) {
  ExpectTensorsRefused(
      [](auto& tensors) {
        std::erase_if(tensors,
                      [](const WrittenTensor& t) { return t.name == "model.norm.weight"; });
      },
      {"\"model.norm.weight\" is missing"});
}

TEST(Inventory, SaysThatAMissingTensorIsOfTheMtpModule) {
  ExpectTensorsRefused(
      [](auto& tensors) {
        std::erase_if(
            tensors, [](const WrittenTensor& t) { return absl::StrContains(t.name, "layers.3."); });
      },
      {"model.layers.3.embed_tokens.weight", "num_nextn_predict_layers"});
}

TEST(Inventory, NamesAnExtraTensor) {
  ExpectTensorsRefused(
      [](auto& tensors) {
        tensors.push_back({"rotary.inv_freq", "F32", {2}, "12345678"});
      },
      {"rotary.inv_freq", "does not belong", "model-2.safetensors"});
}

TEST(Inventory, NamesAWrongShape) {
  ExpectTensorsRefused(
      [](auto& tensors) {
        tensors[0].shape = {24, 32};
      },
      {"model.embed_tokens.weight", "BF16 [24, 32]", "BF16 [32, 24]"});
  ExpectTensorsRefused([](auto& tensors) { tensors[0].shape = {768}; },
                       {"model.embed_tokens.weight", "BF16 [768]"});
}

TEST(Inventory, NamesAWrongType) {
  ExpectTensorsRefused([](auto& tensors) { tensors[0].type = "F16"; },
                       {"model.embed_tokens.weight", "F16"});
}

TEST(Index, MustAgreeWithTheFiles) {
  TempFolder temp("checkpoint_index");
  WriteCheckpoint(temp.path(), SmallConfigJson(), RandomTensors(SmallConfig(), 1), 2);
  const std::string path = temp.File("model.safetensors.index.json");
  const json good = json::parse(testing::ReadFile(path));
  json index = good;
  index["weight_map"]["model.embed_tokens.weight"] = "model-2.safetensors";
  WriteFile(path, index.dump());
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument,
                {"model.embed_tokens.weight", "model-1.safetensors", "model-2.safetensors"});
  index = good;
  index["weight_map"].erase("model.norm.weight");
  WriteFile(path, index.dump());
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument,
                {"model.norm.weight", "does not name it"});
  index = good;
  index["weight_map"]["ghost"] = "model-2.safetensors";
  WriteFile(path, index.dump());
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument, {"ghost", "is not in"});
}

TEST(Index, RefusesATensorInTwoFiles) {
  TempFolder temp("checkpoint_twice");
  std::vector<WrittenTensor> tensors = RandomTensors(SmallConfig(), 1);
  tensors.push_back(tensors.front());
  WriteCheckpoint(temp.path(), SmallConfigJson(), tensors, 2);
  ExpectRefused(temp.path(), absl::StatusCode::kInvalidArgument, {"model.embed_tokens.weight"});
}

}  // namespace
}  // namespace baton::loader
