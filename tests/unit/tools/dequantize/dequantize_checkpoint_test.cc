#include "tools/dequantize/dequantize_checkpoint.h"

#include <cmath>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"
#include "services/model_loader/format/served_model.h"
#include "tests/fakes/checkpoint_writer.h"

namespace baton {
namespace {

using testing::ReadFile;
using testing::TempFolder;

std::string Demo() { return std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1"; }

// The bytes of a tensor of an opened checkpoint.
std::string Bytes(const loader::ServedModel& model, const std::string& name) {
  const loader::StoredTensor* tensor = model.checkpoint->Find(name);
  const loader::CheckpointFolder& folder = model.checkpoint->folder();
  return ReadFile(folder.path() + "/" + folder.name(tensor->file))
      .substr(tensor->begin, tensor->bytes);
}

template <typename T>
T At(const std::string& bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Nearest bfloat16 by search among the two neighbours, ties to even: no rounding trick.
float NearestBFloat16(float value) {
  const BFloat16 below = {static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16)};
  const BFloat16 above = {static_cast<uint16_t>(below.bits + 1)};
  const double down = std::abs(static_cast<double>(value) - static_cast<double>(ToFloat(below)));
  const double up = std::abs(static_cast<double>(ToFloat(above)) - static_cast<double>(value));
  if (down != up) return ToFloat(down < up ? below : above);
  return ToFloat(below.bits % 2 == 0 ? below : above);
}

TEST(DequantizeCheckpoint, MakesTheBFloat16FormOfTheDemoModel) {
  TempFolder temp("dequantize_demo");
  DequantizeOptions options;
  options.input = Demo();
  options.output = temp.File("out");
  uint64_t done = 0;
  uint64_t total = 0;
  options.progress = [&](uint64_t now, uint64_t all) {
    EXPECT_GT(now, done);
    done = now;
    total = all;
  };
  const absl::Status status = DequantizeCheckpoint(options);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, 20503324u);

  const loader::ServedModel in = loader::OpenServedModel({Demo()}, {}).value();
  const auto out = loader::OpenServedModel({options.output}, {});
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_FALSE(out->config.fp8_weights);
  for (const std::string name :
       {"model.layers.0.self_attn.q_b_proj.weight", "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
        "model.layers.8.mlp.experts.3.up_proj.weight"}) {
    const std::string values = Bytes(in, name);
    const std::string scales = Bytes(in, name + "_scale_inv");
    const std::string result = Bytes(*out, name);
    ASSERT_EQ(result.size(), 2 * values.size());
    const uint64_t columns = in.checkpoint->Find(name)->shape[1];
    const uint64_t scale_columns = (columns + 127) / 128;
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t scale = i / columns / 128 * scale_columns + i % columns / 128;
      const float product = ToFloat(At<Float8E4M3>(values, i)) * At<float>(scales, scale);
      ASSERT_EQ(ToFloat(At<BFloat16>(result, i)), NearestBFloat16(product)) << name << " " << i;
    }
  }
  for (const std::string name : {"model.embed_tokens.weight", "model.norm.weight",
                                 "model.layers.1.mlp.gate.e_score_correction_bias"}) {
    EXPECT_EQ(Bytes(*out, name), Bytes(in, name)) << name;
  }
  EXPECT_EQ(ReadFile(options.output + "/tokenizer.json"), ReadFile(Demo() + "/tokenizer.json"));
}

TEST(DequantizeCheckpoint, KeepsTheFilesAndTheConfig) {
  TempFolder temp("dequantize_layout");
  ASSERT_TRUE(DequantizeCheckpoint({Demo(), temp.File("out")}).ok());
  using nlohmann::json;
  const json in = json::parse(ReadFile(Demo() + "/model.safetensors.index.json"));
  const json out = json::parse(ReadFile(temp.File("out") + "/model.safetensors.index.json"));
  for (const auto& [name, file] : out["weight_map"].items()) {
    EXPECT_EQ(in["weight_map"][name], file);
  }
  json config = json::parse(ReadFile(Demo() + "/config.json"));
  config.erase("quantization_config");
  EXPECT_EQ(json::parse(ReadFile(temp.File("out") + "/config.json")), config);
}

TEST(DequantizeCheckpoint, TakesASingleFile) {
  TempFolder in("dequantize_single_in");
  TempFolder out("dequantize_single_out");
  const std::string config = testing::SmallConfigJson();
  testing::WriteFile(in.File("config.json"), config);
  testing::WriteFile(in.File("model.safetensors"), testing::SafetensorsFile(testing::RandomTensors(
                                                       ParseModelConfig(config).value(), 4)));
  const absl::Status status = DequantizeCheckpoint({in.path(), out.path()});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(std::filesystem::exists(out.File("model.safetensors.index.json")));
}

TEST(DequantizeCheckpoint, RefusesToOverwrite) {
  TempFolder temp("dequantize_exists");
  testing::WriteFile(temp.File("precious"), "mine");
  EXPECT_EQ(DequantizeCheckpoint({Demo(), temp.path()}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(DequantizeCheckpoint({Demo(), Demo()}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFile(temp.File("precious")), "mine");
}

TEST(DequantizeCheckpoint, RefusesWhatIsBFloat16Already) {
  TempFolder in("dequantize_bf16_in");
  TempFolder out("dequantize_bf16_out");
  const std::string config = testing::SmallConfigJson(/*fp8=*/false);
  testing::WriteCheckpoint(in.path(), config,
                           testing::RandomTensors(ParseModelConfig(config).value(), 4), 2);
  EXPECT_EQ(DequantizeCheckpoint({in.path(), out.path()}).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(std::filesystem::is_empty(out.path()));
}

TEST(DequantizeCheckpoint, RefusesABrokenInput) {
  TempFolder out("dequantize_broken");
  EXPECT_EQ(DequantizeCheckpoint({out.path(), out.File("x")}).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(out.File("x")));
}

}  // namespace
}  // namespace baton
