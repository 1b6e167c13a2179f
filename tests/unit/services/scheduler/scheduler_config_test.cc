#include "services/scheduler/scheduler_config.h"

#include <cmath>
#include <functional>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

SchedulerConfig MakeConfig() {
  SchedulerConfig config;
  config.model = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
  return config;
}

TEST(ResolveGroup, TakesSizesFromTheModel) {
  SchedulerConfig config = MakeConfig();
  config.pipeline_parallel_size = 2;
  config.tensor_parallel_size = 8;
  const absl::StatusOr<ResolvedGroup> group = ResolveGroup(config);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->schedule.vocab_size, 2048u);
  EXPECT_EQ(group->schedule.eos_token_ids, (std::vector<TokenId>{1}));
  EXPECT_EQ(group->schedule.max_steps_in_flight, 2u);
  EXPECT_EQ(group->schedule.lookahead_steps, 1u);
  EXPECT_EQ(group->plans[0].max_steps_in_flight(), 3u);
  ASSERT_EQ(group->plans.size(), 2u);
  EXPECT_EQ(group->plans[0].layers().end(), group->plans[1].layers().begin());
  EXPECT_EQ(group->plans[1].max_model_len(), group->schedule.max_model_len);
  EXPECT_EQ(group->plans[1].num_ranks(), 8u);
  EXPECT_EQ(group->plans[0].model_fingerprint().size(), 64u);
}

TEST(ResolveGroup, TellsEveryStageOfSpeculation) {
  SchedulerConfig config = MakeConfig();
  config.pipeline_parallel_size = 2;
  config.speculative_config = R"({"method":"mtp","num_speculative_tokens":2})";
  const absl::StatusOr<ResolvedGroup> group = ResolveGroup(config);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->schedule.num_speculative_tokens, 2u);
  for (const v1::StagePlan& plan : group->plans) EXPECT_EQ(plan.num_speculative_tokens(), 2u);
  config.speculative_config = R"({"method":"ngram"})";
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveGroup(config).status()));
}

TEST(ResolveGroup, SplitsTheRealModelOverTwoStages) {
  SchedulerConfig config = MakeConfig();
  config.model = std::string(BATON_SOURCE_DIR) + "/tests/data/deepseek-r1";
  config.pipeline_parallel_size = 2;
  config.tensor_parallel_size = 8;
  const absl::StatusOr<ResolvedGroup> group = ResolveGroup(config);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->plans[1].layers().end(), 61u);
  EXPECT_EQ(group->schedule.max_model_len, 163840u);
}

TEST(ResolveGroup, KnowsFloorsOfStepsFromTheModel) {
  SchedulerConfig config = MakeConfig();
  config.model = std::string(BATON_SOURCE_DIR) + "/tests/data/deepseek-r1";
  config.pipeline_parallel_size = 2;
  config.tensor_parallel_size = 8;
  config.long_prefill_token_threshold = 512;
  config.max_step_time = absl::Milliseconds(40);
  const absl::StatusOr<ResolvedGroup> group = ResolveGroup(config);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->schedule.max_chunk_tokens, 512u);
  EXPECT_DOUBLE_EQ(group->schedule.max_step_seconds, 0.04);
  const StepCost cost(group->schedule.step_cost);
  ASSERT_EQ(cost.stages().size(), 2u);
  StepWork one;
  one.Add(4095, 1, true);
  EXPECT_NEAR(cost.Seconds(one), 0.73e-3, 0.08e-3);
}

TEST(ResolveGroup, TakesTheTypeOfActivations) {
  SchedulerConfig config = MakeConfig();
  config.dtype = "float32";
  EXPECT_EQ(ResolveGroup(config)->plans[0].compute_type(), v1::DATA_TYPE_FLOAT32);
  config.dtype = "auto";
  EXPECT_EQ(ResolveGroup(config)->plans[0].compute_type(), v1::DATA_TYPE_BFLOAT16);
}

TEST(ResolveGroup, CachesPrefixesUnderASecretOfItsOwn) {
  SchedulerConfig config = MakeConfig();
  config.watermark = 0.25;
  const ScheduleOptions first = ResolveGroup(config)->schedule;
  EXPECT_TRUE(first.prefix_caching);
  EXPECT_EQ(first.watermark, 0.25);
  EXPECT_EQ(first.cache_secret.size(), 32u);
  config.enable_prefix_caching = false;
  const ScheduleOptions second = ResolveGroup(config)->schedule;
  EXPECT_FALSE(second.prefix_caching);
  EXPECT_NE(second.cache_secret, first.cache_secret);
}

TEST(ResolveGroup, NamesTheFlagThatIsWrong) {
  const std::pair<const char*, std::function<void(SchedulerConfig*)>> cases[] = {
      {"--model", [](auto* c) { c->model.clear(); }},
      {"--dtype", [](auto* c) { c->dtype = "float16"; }},
      {"--max-model-len", [](auto* c) { c->max_model_len = 1 << 20; }},
      {"--max-num-seqs", [](auto* c) { c->max_num_seqs = 0; }},
      {"--max-num-batched-tokens", [](auto* c) { c->max_num_batched_tokens = -1; }},
      {"--long-prefill-token-threshold", [](auto* c) { c->long_prefill_token_threshold = -1; }},
      {"--max-step-time", [](auto* c) { c->max_step_time = -absl::Seconds(1); }},
      {"--pipeline-parallel-size", [](auto* c) { c->pipeline_parallel_size = 0; }},
      {"--lookahead-steps", [](auto* c) { c->lookahead_steps = 17; }},
      {"--step-timeout", [](auto* c) { c->step_timeout = absl::Milliseconds(9); }},
      {"--watermark", [](auto* c) { c->watermark = 1; }},
      {"--watermark", [](auto* c) { c->watermark = -0.01; }},
      {"--watermark", [](auto* c) { c->watermark = std::nan(""); }},
      {"--heartbeat-timeout", [](auto* c) { c->heartbeat_timeout = absl::Milliseconds(9); }},
  };
  for (const auto& [culprit, spoil] : cases) {
    SchedulerConfig config = MakeConfig();
    spoil(&config);
    const absl::Status status = ResolveGroup(config).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << culprit << ": " << status;
    EXPECT_NE(status.message().find(culprit), std::string::npos) << status;
  }
}

TEST(ResolveGroup, RefusesWhatTheModelCannotBeCutInto) {
  SchedulerConfig config = MakeConfig();
  config.tensor_parallel_size = 7;
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveGroup(config).status()));
  config = MakeConfig();
  config.pipeline_parallel_size = 1000;
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveGroup(config).status()));
  config = MakeConfig();
  config.model = "/nonexistent";
  EXPECT_TRUE(absl::IsNotFound(ResolveGroup(config).status()));
}

}  // namespace
}  // namespace baton::scheduler
