#include "services/scheduler/scheduler_metrics.h"

#include <map>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

// Gauges whose name begins with baton_scheduler_step_cost_, by name and labels.
std::map<std::string, double> StepCostGauges(const prometheus::Registry& registry) {
  std::map<std::string, double> gauges;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    if (family.name.rfind("baton_scheduler_step_cost_", 0) != 0) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string name = family.name.substr(std::string("baton_scheduler_step_cost_").size());
      for (const auto& label : metric.label) name += " " + label.value;
      gauges[name] = metric.gauge.value;
    }
  }
  return gauges;
}

TEST(SchedulerMetrics, ExportsWhatStepsCost) {
  const auto registry = std::make_shared<prometheus::Registry>();
  SchedulerMetrics metrics(registry);
  StepCostOptions options{.expert_share = 0.25};
  options.prior.assign(2, {.values = {1, 2, 3, 4, 5, 6, 7}});
  StepCost cost(options);
  metrics.OnStepCost(cost);
  std::map<std::string, double> gauges = StepCostGauges(*registry);
  EXPECT_EQ(gauges.size(), 2 * CostTerms::kCount + 2 + 2);
  EXPECT_EQ(gauges.at("seconds 0 step"), 1);
  EXPECT_EQ(gauges.at("seconds 1 sampled"), 7);
  EXPECT_EQ(gauges.at("error_ratio 1"), 0);
  EXPECT_EQ(gauges.at("expert_share"), 0.25);
  EXPECT_EQ(gauges.at("measured_steps"), 0);

  StepWork work;
  work.Add(10, 1, true);
  cost.Observe(work, {2 * cost.Seconds(work), 2 * cost.Seconds(work)});
  metrics.OnStepCost(cost);
  gauges = StepCostGauges(*registry);
  EXPECT_DOUBLE_EQ(gauges.at("seconds 0 step"), 2);
  EXPECT_EQ(gauges.at("measured_steps"), 1);
}

TEST(SchedulerMetrics, CountsShortStepsByWhatIsFlooded) {
  const auto registry = std::make_shared<prometheus::Registry>();
  SchedulerMetrics metrics(registry);
  ScheduleCounts counts;
  counts.num_short_steps = {5, 0, 2};
  metrics.OnCounts(counts, 1, true);
  counts.num_short_steps = {6, 0, 3};
  metrics.OnCounts(counts, 1, true);
  std::map<std::string, double> steps;
  for (const prometheus::MetricFamily& family : registry->Collect()) {
    if (family.name != "baton_scheduler_short_steps_total") continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      ASSERT_EQ(metric.label.size(), 1u);
      steps[metric.label[0].value] = metric.counter.value;
    }
  }
  EXPECT_EQ(steps, (std::map<std::string, double>{{"places", 6}, {"blocks", 0}, {"time", 3}}));
}

TEST(SchedulerMetrics, ExportsNoCostsWhereNoneAreLearned) {
  const auto registry = std::make_shared<prometheus::Registry>();
  SchedulerMetrics metrics(registry);
  metrics.OnStepCost(StepCost({}));
  EXPECT_EQ(StepCostGauges(*registry).count("seconds 0 token"), 0u);
}

TEST(SchedulerMetrics, TellsWhyStagesWereLost) {
  const auto registry = std::make_shared<prometheus::Registry>();
  SchedulerMetrics metrics(registry);
  metrics.OnStageLost(LossCause::kLink);
  metrics.OnStageLost(LossCause::kLink);
  metrics.OnStageLost(LossCause::kJoin);
  std::map<std::string, double> losses;
  for (const prometheus::MetricFamily& family : registry->Collect()) {
    if (family.name != "baton_scheduler_stage_losses_total") continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      losses[metric.label.at(0).value] = metric.counter.value;
    }
  }
  EXPECT_EQ(losses, (std::map<std::string, double>{{"stage", 0}, {"link", 2}, {"join", 1}}));
}

}  // namespace
}  // namespace baton::scheduler
