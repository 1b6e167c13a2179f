#include "tools/plan/deployment_plan.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

ModelConfig ReadConfig(const std::string& model) {
  const std::string folder = std::string(BATON_SOURCE_DIR) + "/tests/data/" + model;
  return ParseModelConfig(ReadModelConfigText(folder).value()).value();
}

// The guide's shape: two pods of eight devices.
PlanOptions Guide(double gigabytes) {
  PlanOptions options;
  options.num_stages = 2;
  options.num_ranks = 8;
  options.memory_bytes = static_cast<uint64_t>(gigabytes * 1e9);
  return options;
}

double WeightGigabytes(const StagePlan& stage) {
  return static_cast<double>(stage.weight_bytes + stage.derived_bytes) / 1e9;
}

TEST(DeploymentPlan, OfDeepSeekR1InTheGuidesShape) {
  const auto plan = PlanDeployment(ReadConfig("deepseek-r1"), Guide(96));
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->stages.size(), 2u);
  EXPECT_EQ(plan->stages[0].shape.layer_end, 31);
  EXPECT_EQ(plan->stages[1].shape.layer_begin, 31);
  EXPECT_EQ(plan->stages[1].shape.layer_end, 61);
  EXPECT_NEAR(WeightGigabytes(plan->stages[0]), 41.4, 0.05);
  EXPECT_NEAR(WeightGigabytes(plan->stages[1]), 44.0, 0.05);
  EXPECT_EQ(plan->stages[0].kv_bytes_per_token, 35712u);
  EXPECT_EQ(plan->stages[1].kv_bytes_per_token, 34560u);
  EXPECT_EQ(plan->kv_bytes_per_token, 70272u);
  EXPECT_TRUE(plan->obstacle.empty()) << plan->obstacle;
}

TEST(DeploymentPlan, TokensThatFitByMemory) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  for (const auto& [gigabytes, million_tokens] :
       std::vector<std::pair<double, double>>{{80, 0.77}, {96, 1.19}, {141, 2.39}}) {
    const auto plan = PlanDeployment(config, Guide(gigabytes));
    EXPECT_NEAR(static_cast<double>(plan->kv_tokens) / 1e6, million_tokens, 0.006) << gigabytes;
    EXPECT_EQ(plan->kv_tokens % kPlanBlockTokens, 0);
  }
}

TEST(DeploymentPlan, MtpModuleWeighsAsPublished) {
  const auto plan = PlanDeployment(ReadConfig("deepseek-r1"), Guide(96));
  // A layer with experts (1.456 GB), eh_proj whole (0.206), embedding and head again (0.463).
  EXPECT_NEAR(static_cast<double>(plan->mtp_bytes) / 1e9, 2.125, 0.005);
}

TEST(DeploymentPlan, CountsTheMtpModuleWhereItIsAskedFor) {
  const auto plain = PlanDeployment(ReadConfig("deepseek-r1"), Guide(96));
  PlanOptions options = Guide(96);
  options.speculates = true;
  const auto plan = PlanDeployment(ReadConfig("deepseek-r1"), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages[0].weight_bytes, plain->stages[0].weight_bytes);
  EXPECT_NEAR(static_cast<double>(plan->stages[1].weight_bytes - plain->stages[1].weight_bytes),
              static_cast<double>(plan->mtp_bytes), 1e6);
  EXPECT_EQ(plan->stages[0].kv_bytes_per_token, 35712u);
  EXPECT_EQ(plan->stages[1].kv_bytes_per_token, 34560u + 1152u);  // one more layer
  EXPECT_LT(plan->kv_tokens, plain->kv_tokens);
}

TEST(DeploymentPlan, RefusesToSpeculateWithoutAModule) {
  ModelConfig config = ReadConfig("deepseek-r1");
  config.num_mtp_layers = 0;
  PlanOptions options = Guide(96);
  options.speculates = true;
  EXPECT_TRUE(absl::IsInvalidArgument(PlanDeployment(config, options).status()));
}

TEST(DeploymentPlan, SaysWhatWouldWorkWhenWeightsDoNotFit) {
  const auto plan = PlanDeployment(ReadConfig("deepseek-r1"), Guide(40));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->kv_tokens, 0);
  EXPECT_NE(plan->obstacle.find("weights do not fit: stage 1"), std::string::npos);
  EXPECT_NE(plan->obstacle.find("--pipeline-parallel-size 3 --tensor-parallel-size 8"),
            std::string::npos)
      << plan->obstacle;
}

TEST(DeploymentPlan, WhatItSuggestsWorks) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  PlanOptions options = Guide(40);
  options.num_stages = 3;
  EXPECT_EQ(PlanDeployment(config, options)->obstacle, "");
}

TEST(DeploymentPlan, ShorterSequencesMayFit) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  PlanOptions options = Guide(53.5);
  const auto plan = PlanDeployment(config, options);
  ASSERT_GT(plan->kv_tokens, 0);
  ASSERT_LT(plan->kv_tokens, config.max_positions);
  EXPECT_NE(plan->obstacle.find("--max-model-len " + std::to_string(plan->kv_tokens)),
            std::string::npos)
      << plan->obstacle;
  options.max_model_len = plan->kv_tokens;
  EXPECT_EQ(PlanDeployment(config, options)->obstacle, "");
}

TEST(DeploymentPlan, Float32DoublesTheCache) {
  PlanOptions options = Guide(96);
  options.compute_type = DataType::kFloat32;
  EXPECT_EQ(PlanDeployment(ReadConfig("deepseek-r1"), options)->kv_bytes_per_token, 140544u);
}

TEST(DeploymentPlan, RefusesSizesThatDoNotDivide) {
  const ModelConfig config = ReadConfig("tiny-r1");
  PlanOptions options;
  options.num_ranks = 3;
  EXPECT_EQ(PlanDeployment(config, options).status().code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.num_stages = 9;
  EXPECT_EQ(PlanDeployment(config, options).status().code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.memory_utilization = 1.5;
  EXPECT_EQ(PlanDeployment(config, options).status().code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.max_model_len = config.max_positions + 1;
  EXPECT_EQ(PlanDeployment(config, options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
