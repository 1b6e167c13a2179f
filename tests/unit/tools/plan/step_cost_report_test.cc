#include "tools/plan/step_cost_report.h"

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

#include "common/model/stage_floor.h"
#include "common/model/weight_inventory.h"

namespace baton {
namespace {

constexpr char kMetrics[] =
    "# HELP baton_scheduler_step_cost_seconds Fitted time.\n"
    "# TYPE baton_scheduler_step_cost_seconds gauge\n"
    "baton_scheduler_step_cost_seconds{stage=\"0\",term=\"step\"} 0.001\n"
    "baton_scheduler_step_cost_seconds{stage=\"0\",term=\"token\"} 2e-06\n"
    "baton_scheduler_step_cost_seconds{term=\"sampled\",stage=\"1\"} 3e-06\n"
    "baton_scheduler_step_cost_error_ratio{stage=\"0\"} 0.05\n"
    "baton_scheduler_step_cost_error_ratio{stage=\"1\"} 0.07\n"
    "baton_scheduler_step_cost_expert_share 0.03125\n"
    "baton_scheduler_step_cost_measured_steps 120\n"
    "baton_scheduler_steps_total 130\n";

ModelConfig R1() {
  return ParseModelConfig(
             ReadModelConfigText(std::string(BATON_SOURCE_DIR) + "/tests/data/deepseek-r1").value())
      .value();
}

TEST(StepCostReport, ReadsWhatASchedulerExports) {
  const auto report = ParseStepCostMetrics(kMetrics, 2);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->prices.prior.size(), 2u);
  EXPECT_DOUBLE_EQ(report->prices.prior[0].values[0], 0.001);
  EXPECT_DOUBLE_EQ(report->prices.prior[0].values[2], 2e-6);
  EXPECT_DOUBLE_EQ(report->prices.prior[1].values[6], 3e-6);
  EXPECT_DOUBLE_EQ(report->prices.expert_share, 0.03125);
  EXPECT_EQ(report->errors, (std::vector<double>{0.05, 0.07}));
  EXPECT_EQ(report->measured_steps, 120);
}

TEST(StepCostReport, RefusesAnotherGroup) {
  EXPECT_TRUE(absl::IsFailedPrecondition(ParseStepCostMetrics(kMetrics, 3).status()));
  EXPECT_TRUE(absl::IsNotFound(ParseStepCostMetrics("up 1\n", 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FetchStepCost("127.0.0.1:9092", 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FetchStepCost("http://127.0.0.1/metrics", 2).status()));
}

// Against floors computed by hand, operation by operation, for DeepSeek-R1 on 2 x 8 ranks: decodes
// of one token, of 64 and of 128 with 4,096 tokens of context, chunks of 2,048 behind 0 and 30,720.
TEST(StepCostReport, TheFloorOfR1IsThatOfItsOperations) {
  const auto plan = PlanDeployment(R1(), {.num_stages = 2, .num_ranks = 8});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const StepCostReport report = StepCostFloor(R1(), *plan);
  ASSERT_EQ(report.prices.prior.size(), 2u);
  struct Known {
    uint64_t rows;
    uint64_t begin;
    uint64_t num_tokens;
    double stage0;
    double stage1;
  };
  for (const Known& known : {Known{1, 4095, 1, 0.697, 0.730}, Known{64, 4095, 1, 10.66, 11.17},
                             Known{128, 4095, 1, 14.02, 14.53}, Known{1, 0, 2048, 16.4, 16.6},
                             Known{1, 30720, 2048, 44.3, 43.6}}) {
    scheduler::StepWork work;
    for (uint64_t row = 0; row < known.rows; ++row) work.Add(known.begin, known.num_tokens, true);
    for (const size_t stage : {0u, 1u}) {
      const scheduler::StepCost cost(
          {.prior = {report.prices.prior[stage]}, .expert_share = report.prices.expert_share});
      const double expected = stage == 0 ? known.stage0 : known.stage1;
      EXPECT_NEAR(1e3 * cost.Seconds(work), expected, 0.12 * expected)
          << known.rows << " rows of " << known.num_tokens << ", stage " << stage;
    }
  }
}

// Behind a long prefix, keys and values of every head take as long as what 171 tokens save with
// them: a chunk of 64 costs 2.2 times as much as with latents, one of 2,048 a third.
TEST(StepCostReport, TheFloorKnowsBothFormsOfAttention) {
  const StageShape shape = SplitLayers(R1(), 2).value()[0];
  const DeviceSpeed device{.fp8_flops = DeviceSpeed().bf16_flops};
  const StageFloor floor = FloorOfStage(R1(), shape, 8, device);
  const scheduler::StepCost cost(
      {.prior = {
           {.values = {0, 0, 0, 0, floor.chunk_kv, floor.chunk_pair, 0, floor.absorbed_pair}}}});
  const auto ratio = [&cost](uint64_t num_tokens) {
    constexpr uint64_t kPrefix = 1 << 17;
    scheduler::StepWork expanded;
    expanded.Add(kPrefix, num_tokens, false, 2 * kPrefix);
    scheduler::StepWork absorbed;
    absorbed.Add(kPrefix, num_tokens, false, 0);
    return cost.Seconds(expanded) / cost.Seconds(absorbed);
  };
  EXPECT_NEAR(ratio(64), 2.18, 0.01);
  EXPECT_NEAR(ratio(171), 1, 0.01);
  EXPECT_NEAR(ratio(2048), 0.353, 0.005);
}

TEST(StepCostReport, PrintsPricesAndPredictions) {
  StepCostReport report = ParseStepCostMetrics(kMetrics, 2).value();
  report.source = "as measured";
  const std::string text = StepCostAsText(report);
  EXPECT_TRUE(absl::StrContains(text, "as measured")) << text;
  EXPECT_TRUE(absl::StrContains(text, "off by 7%")) << text;
  EXPECT_TRUE(absl::StrContains(text, "decode 64")) << text;
  EXPECT_TRUE(absl::StrContains(text, "prefill 2048 at 30720")) << text;
}

}  // namespace
}  // namespace baton
