#include "tools/mini_r1/random_checkpoint.h"

#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "services/model_loader/format/served_model.h"
#include "tests/fakes/checkpoint_writer.h"
#include "tools/mini_r1/mini_command.h"
#include "tools/mini_r1/mini_config.h"

namespace baton {
namespace {

using testing::ReadFile;
using testing::TempFolder;

MiniSizes TinySizes(bool fp8) {
  MiniSizes sizes;
  sizes.hidden_size = 192;
  sizes.num_layers = 2;
  sizes.intermediate_size = 160;
  sizes.moe_intermediate_size = 32;
  sizes.num_experts = 8;
  sizes.experts_per_token = 2;
  sizes.num_heads = 2;
  sizes.q_lora_rank = 64;
  sizes.kv_lora_rank = 64;
  sizes.vocab_size = 300;
  sizes.num_mtp_layers = 1;
  sizes.fp8 = fp8;
  return sizes;
}

absl::Status Write(const std::string& folder, bool fp8, uint64_t seed, int num_threads) {
  RandomCheckpointOptions options;
  options.config_json = MiniConfigJson(TinySizes(fp8));
  options.output = folder;
  options.seed = seed;
  options.num_threads = num_threads;
  return WriteRandomCheckpoint(options);
}

std::map<std::string, std::string> FilesOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename()] = ReadFile(entry.path());
  }
  return files;
}

loader::FolderOptions FolderAt(const std::string& path) {
  loader::FolderOptions options;
  options.path = path;
  return options;
}

TEST(RandomCheckpoint, OpensAsAModelInBothForms) {
  for (const bool fp8 : {true, false}) {
    TempFolder temp("random_checkpoint_opens");
    ASSERT_TRUE(Write(temp.File("out"), fp8, 1, 2).ok());
    const auto model = loader::OpenServedModel(FolderAt(temp.File("out")), {});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->config.fp8_weights, fp8);
    EXPECT_EQ(model->config.num_experts, 8);
    EXPECT_NE(model->checkpoint->Find("model.layers.2.eh_proj.weight"), nullptr);
  }
}

TEST(RandomCheckpoint, EqualsItselfBySeedWhateverTheThreads) {
  TempFolder temp("random_checkpoint_seed");
  ASSERT_TRUE(Write(temp.File("a"), true, 7, 1).ok());
  ASSERT_TRUE(Write(temp.File("b"), true, 7, 4).ok());
  ASSERT_TRUE(Write(temp.File("c"), true, 8, 1).ok());
  EXPECT_EQ(FilesOf(temp.File("a")), FilesOf(temp.File("b")));
  EXPECT_NE(FilesOf(temp.File("a")), FilesOf(temp.File("c")));
}

TEST(RandomCheckpoint, OverwritesNothing) {
  TempFolder temp("random_checkpoint_full");
  ASSERT_TRUE(Write(temp.File("out"), true, 1, 1).ok());
  EXPECT_EQ(Write(temp.File("out"), true, 1, 1).code(), absl::StatusCode::kAlreadyExists);
}

TEST(RandomCheckpoint, CommandTakesSizesAndATokenizer) {
  TempFolder temp("random_checkpoint_command");
  const std::string tokenizer = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
  std::ostringstream out;
  std::ostringstream err;
  const std::vector<std::string> words = {temp.File("out"),
                                          "--tokenizer",
                                          tokenizer,
                                          "--hidden-size",
                                          "128",
                                          "--num-layers",
                                          "2",
                                          "--num-experts",
                                          "4",
                                          "--experts-per-token",
                                          "2",
                                          "--vocab-size",
                                          "2048",
                                          "--dtype",
                                          "bfloat16",
                                          "--intermediate-size",
                                          "128"};
  ASSERT_EQ(RunMiniR1(words, out, err), 0) << err.str();
  EXPECT_TRUE(std::filesystem::exists(temp.File("out") + "/tokenizer.json"));
  const auto model = loader::OpenServedModel(FolderAt(temp.File("out")), {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.hidden_size, 128);
  EXPECT_EQ(model->config.num_experts, 4);
}

TEST(RandomCheckpoint, CommandRefusesWhatItDoesNotKnow) {
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunMiniR1({"out", "--hiden-size", "128"}, out, err), 2);
  EXPECT_EQ(RunMiniR1({}, out, err), 2);
  EXPECT_EQ(RunMiniR1({"out", "--dtype", "int4"}, out, err), 2);
  EXPECT_NE(err.str().find("int4"), std::string::npos);
  EXPECT_EQ(RunMiniR1({"--help"}, out, err), 0);
  EXPECT_NE(out.str().find("example"), std::string::npos);
}

}  // namespace
}  // namespace baton
