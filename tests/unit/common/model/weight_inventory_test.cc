#include "common/model/weight_inventory.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

#include "tests/unit/common/model/test_configs.h"

namespace baton {
namespace {

using nlohmann::json;

// Header of one safetensors file, read without our own parser.
json ReadHeader(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  uint64_t size = 0;
  file.read(reinterpret_cast<char*>(&size), sizeof(size));
  std::string text(size, ' ');
  file.read(text.data(), static_cast<std::streamsize>(size));
  return json::parse(text);
}

const WeightSpec& Find(const std::vector<WeightSpec>& specs, const std::string& name) {
  const auto it = std::find_if(specs.begin(), specs.end(),
                               [&](const WeightSpec& spec) { return spec.name == name; });
  EXPECT_NE(it, specs.end()) << name;
  return *it;
}

// Bytes of rank 0's share of the tensors whose names contain `part`.
int64_t RankBytes(const ModelConfig& config, const std::vector<WeightSpec>& specs, int num_ranks,
                  const std::string& part = "") {
  int64_t bytes = 0;
  for (const WeightSpec& spec : specs) {
    if (spec.name.find(part) == std::string::npos) continue;
    bytes += SliceOfRank(config, spec, 0, num_ranks).num_elements() *
             static_cast<int64_t>(SizeOf(spec.type));
  }
  return bytes;
}

TEST(CheckpointInventory, IsWhatTheDemoCheckpointHolds) {
  std::map<std::string, std::pair<std::string, std::vector<int64_t>>> stored;
  for (const char* file : {"1", "2", "3"}) {
    const json header =
        ReadHeader(std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1/model-0000" + file +
                   "-of-000003.safetensors");
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      stored[name] = {entry["dtype"], entry["shape"].get<std::vector<int64_t>>()};
    }
  }
  const auto specs = CheckpointInventory(ReadConfig("tiny-r1"));
  EXPECT_EQ(specs.size(), stored.size());
  for (const WeightSpec& spec : specs) {
    ASSERT_TRUE(stored.contains(spec.name)) << spec.name;
    const auto& [type, shape] = stored[spec.name];
    EXPECT_EQ(Name(spec.type), type) << spec.name;
    const std::vector<int64_t> expected = spec.num_dimensions == 1
                                              ? std::vector<int64_t>{spec.columns}
                                              : std::vector<int64_t>{spec.rows, spec.columns};
    EXPECT_EQ(expected, shape) << spec.name;
  }
}

TEST(CheckpointInventory, WithoutFp8HasNoScales) {
  ModelConfig config = ReadConfig("tiny-r1");
  config.fp8_weights = false;
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    EXPECT_EQ(spec.name.find("weight_scale_inv"), std::string::npos);
    EXPECT_NE(spec.type, DataType::kFloat8E4M3);
  }
}

TEST(CheckpointInventory, FollowsTheConfig) {
  ModelConfig config = ReadConfig("tiny-r1");
  config.q_lora_rank = 0;
  config.tie_word_embeddings = true;
  config.num_mtp_layers = 0;
  std::set<std::string> names;
  for (const WeightSpec& spec : CheckpointInventory(config)) names.insert(spec.name);
  EXPECT_TRUE(names.contains("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_FALSE(names.contains("model.layers.0.self_attn.q_a_proj.weight"));
  EXPECT_FALSE(names.contains("lm_head.weight"));
  EXPECT_FALSE(names.contains("model.layers.8.eh_proj.weight"));
}

TEST(CheckpointInventory, WeighsWhatDeepSeekR1Publishes) {
  // Element counts by type that the model's page gives for its files.
  std::map<DataType, int64_t> elements;
  for (const WeightSpec& spec : CheckpointInventory(ReadConfig("deepseek-r1"))) {
    elements[spec.type] += spec.rows * spec.columns;
  }
  EXPECT_EQ(elements[DataType::kBFloat16], 3'918'786'560);
  EXPECT_EQ(elements[DataType::kFloat8E4M3], 680'571'043'840);
  EXPECT_EQ(elements[DataType::kFloat32], 41'555'600);
}

TEST(StageInventory, RankBytesOfDeepSeekR1InTheGuidesShape) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  const auto moe = StageInventory(config, {10, 11, false, false});
  const auto dense = StageInventory(config, {0, 1, false, false});
  // A running stage also keeps kv_b widened to bfloat16 for decoding; with it the well-known sums
  // come out.
  const double absorbed = 4096.0 * 512.0 * 2.0;
  const auto with_absorbed = [&](const StageShape& stage) {
    const double layers = static_cast<double>(stage.layer_end - stage.layer_begin);
    return static_cast<double>(RankBytes(config, StageInventory(config, stage), 8)) +
           layers * absorbed;
  };
  EXPECT_NEAR(with_absorbed({10, 11, false, false}) / 1e9, 1.460, 0.0005);
  EXPECT_NEAR(with_absorbed({0, 1, false, false}) / 1e6, 90.4, 0.05);
  EXPECT_NEAR(with_absorbed({0, 31, true, false}) / 1e9, 41.4, 0.05);
  EXPECT_NEAR(with_absorbed({31, 61, false, true}) / 1e9, 44.0, 0.05);
  const double qkv_a = static_cast<double>(RankBytes(config, moe, 8, "q_a_proj") +
                                           RankBytes(config, moe, 8, "kv_a_proj"));
  EXPECT_NEAR(qkv_a / 1e6, 15.14, 0.01);
  EXPECT_NEAR(RankBytes(config, moe, 8, "q_b_proj") / 1e6, 4.72, 0.01);
  EXPECT_NEAR(RankBytes(config, moe, 8, "kv_b_proj") / 1e6, 2.10, 0.01);
  EXPECT_NEAR(RankBytes(config, moe, 8, "o_proj") / 1e6, 14.68, 0.01);
  EXPECT_NEAR(RankBytes(config, moe, 8, "mlp.gate.weight") / 1e6, 3.67, 0.01);
  EXPECT_NEAR(RankBytes(config, moe, 8, "experts.17.") / 1e6, 5.505, 0.005);
  EXPECT_NEAR(RankBytes(config, moe, 8, "shared_experts.") / 1e6, 5.505, 0.005);
  EXPECT_NEAR(RankBytes(config, dense, 8, "mlp.") / 1e6, 49.5, 0.1);
}

TEST(StageInventory, StagesTogetherHoldTheModel) {
  const ModelConfig config = ReadConfig("tiny-r1");
  std::multiset<std::string> of_stages;
  const std::vector<StageShape> split = SplitLayers(config, 3).value();
  for (const StageShape& stage : split) {
    for (const WeightSpec& spec : StageInventory(config, stage)) of_stages.insert(spec.name);
  }
  std::multiset<std::string> whole;
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    if (spec.place != WeightPlace::kMtp) whole.insert(spec.name);
  }
  EXPECT_EQ(of_stages, whole);
}

TEST(StageInventory, TiedHeadNeedsTheEmbedding) {
  ModelConfig config = ReadConfig("tiny-r1");
  config.tie_word_embeddings = true;
  const auto count = [&](const StageShape& stage) {
    const auto specs = StageInventory(config, stage);
    return std::count_if(specs.begin(), specs.end(), [](const WeightSpec& spec) {
      return spec.name == "model.embed_tokens.weight";
    });
  };
  EXPECT_EQ(count({4, 8, false, true}), 1);
  EXPECT_EQ(count({0, 8, true, true}), 1);
  EXPECT_EQ(count({0, 4, false, false}), 0);
}

TEST(SliceOfRank, SharesCoverATensorOnce) {
  const ModelConfig config = ReadConfig("tiny-r1");
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    if (spec.scaled_rows > 0 || spec.axis == ShardAxis::kReplicated) continue;
    for (int num_ranks : {1, 2, 4, 8}) {
      int64_t elements = 0;
      int64_t next = 0;
      for (int rank = 0; rank < num_ranks; ++rank) {
        const WeightSlice slice = SliceOfRank(config, spec, rank, num_ranks);
        const bool rows = spec.axis == ShardAxis::kRows;
        EXPECT_EQ(rows ? slice.row_begin : slice.column_begin, next) << spec.name;
        next = rows ? slice.row_end : slice.column_end;
        elements += slice.num_elements();
      }
      EXPECT_EQ(elements, spec.rows * spec.columns) << spec.name;
    }
  }
}

TEST(SliceOfRank, ScaleCoversEveryBlockThatTheWeightTouches) {
  const ModelConfig config = ReadConfig("tiny-r1");
  const auto specs = CheckpointInventory(config);
  const int64_t block = config.fp8_block_size;
  for (const WeightSpec& scale : specs) {
    if (scale.scaled_rows == 0) continue;
    const std::string weight_name = scale.name.substr(0, scale.name.rfind("_scale_inv"));
    const WeightSpec& weight = Find(specs, weight_name);
    ASSERT_EQ(weight.rows, scale.scaled_rows);
    for (int rank = 0; rank < 8; ++rank) {
      const WeightSlice of_weight = SliceOfRank(config, weight, rank, 8);
      const WeightSlice of_scale = SliceOfRank(config, scale, rank, 8);
      EXPECT_EQ(of_scale.row_begin, of_weight.row_begin / block) << scale.name;
      EXPECT_EQ(of_scale.row_end, (of_weight.row_end - 1) / block + 1) << scale.name;
      EXPECT_EQ(of_scale.column_begin, of_weight.column_begin / block) << scale.name;
      EXPECT_EQ(of_scale.column_end, (of_weight.column_end - 1) / block + 1) << scale.name;
    }
  }
}

TEST(SliceOfRank, CutsAsAttentionNeedsIt) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  const auto specs = StageInventory(config, {3, 4, false, false});
  const WeightSlice q_b =
      SliceOfRank(config, Find(specs, "model.layers.3.self_attn.q_b_proj.weight"), 1, 8);
  EXPECT_EQ(q_b.row_begin, 16 * 192);
  EXPECT_EQ(q_b.row_end, 32 * 192);
  EXPECT_EQ(q_b.column_end, 1536);
  const WeightSlice o =
      SliceOfRank(config, Find(specs, "model.layers.3.self_attn.o_proj.weight"), 7, 8);
  EXPECT_EQ(o.row_end, 7168);
  EXPECT_EQ(o.column_begin, 7 * 2048);
  EXPECT_EQ(o.column_end, 8 * 2048);
}

}  // namespace
}  // namespace baton
