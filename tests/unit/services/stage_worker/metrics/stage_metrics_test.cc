#include "services/stage_worker/metrics/stage_metrics.h"

#include <map>
#include <string>

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

// Counters and gauges by name; a histogram's number of observations.
std::map<std::string, double> Values(prometheus::Registry& registry) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    const prometheus::ClientMetric& metric = family.metric.at(0);
    switch (family.type) {
      case prometheus::MetricType::Counter:
        values[family.name] = metric.counter.value;
        break;
      case prometheus::MetricType::Gauge:
        values[family.name] = metric.gauge.value;
        break;
      default:
        values[family.name] = static_cast<double>(metric.histogram.sample_count);
    }
  }
  return values;
}

TEST(StageMetrics, CountsSteps) {
  const auto registry = std::make_shared<prometheus::Registry>();
  StageMetrics metrics(registry);
  StepResult result;
  result.compute_us = 1500;
  metrics.OnStep(result);
  metrics.OnStep(result);
  const auto values = Values(*registry);
  EXPECT_EQ(values.at("baton_stage_steps_total"), 2);
  EXPECT_EQ(values.at("baton_stage_step_compute_seconds"), 2);
}

TEST(StageMetrics, CountsGapsWhereThereWasWork) {
  const auto registry = std::make_shared<prometheus::Registry>();
  StageMetrics metrics(registry);
  StepResult result;
  metrics.OnStep(result);
  EXPECT_EQ(Values(*registry).at("baton_stage_gap_seconds"), 0);
  result.gap_us = 0;
  metrics.OnStep(result);
  EXPECT_EQ(Values(*registry).at("baton_stage_gap_seconds"), 1);
}

TEST(StageMetrics, FollowsATransportThatIsMadeAnew) {
  const auto registry = std::make_shared<prometheus::Registry>();
  StageMetrics metrics(registry);
  StageSnapshot snapshot;
  snapshot.transport.frames_received = 10;
  metrics.Update(snapshot);
  snapshot.transport.frames_received = 14;
  metrics.Update(snapshot);
  snapshot.transport.frames_received = 3;  // a new transport counts from 0
  metrics.Update(snapshot);
  EXPECT_EQ(Values(*registry).at("baton_stage_frames_received_total"), 17);
}

TEST(StageMetrics, ShowsWhatTheStageHolds) {
  const auto registry = std::make_shared<prometheus::Registry>();
  StageMetrics metrics(registry);
  StageSnapshot snapshot;
  snapshot.joined = true;
  snapshot.epoch = 4;
  snapshot.num_used_blocks = 5;
  snapshot.num_total_blocks = 6;
  snapshot.weight_bytes = 7;
  snapshot.constraint_bytes = 8;
  snapshot.num_graphs = 50;
  snapshot.num_refused_graphs = 9;
  metrics.Update(snapshot);
  const auto values = Values(*registry);
  EXPECT_EQ(values.at("baton_stage_joined"), 1);
  EXPECT_EQ(values.at("baton_stage_epoch"), 4);
  EXPECT_EQ(values.at("baton_stage_kv_blocks_used"), 5);
  EXPECT_EQ(values.at("baton_stage_kv_blocks_total"), 6);
  EXPECT_EQ(values.at("baton_stage_graphs"), 50);
  EXPECT_EQ(values.at("baton_stage_graphs_refused"), 9);
  EXPECT_EQ(values.at("baton_stage_weight_bytes"), 7);
  EXPECT_EQ(values.at("baton_stage_constraint_bytes"), 8);
}

TEST(StageMetrics, ShowsWhatBecameOfPackedWeights) {
  const auto registry = std::make_shared<prometheus::Registry>();
  StageMetrics metrics(registry);
  StageSnapshot snapshot;
  snapshot.packed = {.num_adopted = 3,
                     .num_missed = 2,
                     .num_damaged = 1,
                     .num_written = 4,
                     .mapped_bytes = 500,
                     .adopt_seconds = 0.25};
  metrics.Update(snapshot);
  metrics.Update(snapshot);
  const auto values = Values(*registry);
  EXPECT_EQ(values.at("baton_stage_packed_adopted_total"), 3);
  EXPECT_EQ(values.at("baton_stage_packed_missed_total"), 2);
  EXPECT_EQ(values.at("baton_stage_packed_damaged_total"), 1);
  EXPECT_EQ(values.at("baton_stage_packed_written_total"), 4);
  EXPECT_EQ(values.at("baton_stage_packed_mapped_bytes"), 500);
  EXPECT_EQ(values.at("baton_stage_packed_adopt_seconds"), 0.25);
}

}  // namespace
}  // namespace baton::stage
