#include <gtest/gtest.h>

#include "common/model/weight_inventory.h"
#include "tests/unit/common/model/test_configs.h"

namespace baton {
namespace {

std::vector<int64_t> Counts(const std::vector<StageShape>& split) {
  std::vector<int64_t> counts;
  for (const StageShape& stage : split) counts.push_back(stage.layer_end - stage.layer_begin);
  return counts;
}

TEST(SplitLayers, CutsDeepSeekR1InTwoAt31) {
  const auto split = SplitLayers(ReadConfig("deepseek-r1"), 2);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(Counts(*split), (std::vector<int64_t>{31, 30}));
}

TEST(SplitLayers, CoversEveryLayerOnceAtAnyStageCount) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  for (int num_stages = 1; num_stages <= 61; ++num_stages) {
    const auto split = SplitLayers(config, num_stages);
    ASSERT_TRUE(split.ok());
    int64_t next = 0;
    for (size_t stage = 0; stage < split->size(); ++stage) {
      const StageShape& shape = (*split)[stage];
      EXPECT_EQ(shape.layer_begin, next);
      const int64_t count = shape.layer_end - shape.layer_begin;
      EXPECT_GE(count, 61 / num_stages);
      EXPECT_LE(count, (61 + num_stages - 1) / num_stages);
      EXPECT_EQ(shape.has_embedding, stage == 0);
      EXPECT_EQ(shape.has_head, stage + 1 == split->size());
      next = shape.layer_end;
    }
    EXPECT_EQ(next, 61);
  }
}

TEST(SplitLayers, GivesTheLongerStagesToTheLightEnd) {
  ModelConfig config = ReadConfig("tiny-r1");
  config.num_layers = 3;
  config.num_dense_layers = 0;
  // Embedding and head weigh the same: the tie puts the longer stage first.
  EXPECT_EQ(Counts(*SplitLayers(config, 2)), (std::vector<int64_t>{2, 1}));
  // A heavy dense layer in front: the longer stage moves back.
  config.num_dense_layers = 1;
  config.intermediate_size = 1 << 16;
  EXPECT_EQ(Counts(*SplitLayers(config, 2)), (std::vector<int64_t>{1, 2}));
}

TEST(SplitLayers, RefusesMoreStagesThanLayers) {
  const ModelConfig config = ReadConfig("tiny-r1");
  EXPECT_TRUE(SplitLayers(config, 8).ok());
  EXPECT_EQ(SplitLayers(config, 9).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SplitLayers(config, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TensorParallelSize, NamesTheSizeAndWhatWorks) {
  const ModelConfig config = ReadConfig("tiny-r1");
  for (int size : {1, 2, 4, 8}) EXPECT_TRUE(CheckTensorParallelSize(config, size).ok());
  const absl::Status status = CheckTensorParallelSize(config, 3);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("num_attention_heads is 8"), std::string::npos) << status;
  EXPECT_NE(status.message().find("1, 2, 4, 8"), std::string::npos) << status;
  EXPECT_FALSE(CheckTensorParallelSize(config, 0).ok());
  EXPECT_FALSE(CheckTensorParallelSize(config, -8).ok());
}

}  // namespace
}  // namespace baton
