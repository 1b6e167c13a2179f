#include "common/metrics/exposition.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

TEST(RenderMetrics, WritesHelpTypeLabelsAndValues) {
  prometheus::Registry registry;
  auto& steps =
      prometheus::BuildCounter().Name("baton_steps_total").Help("Steps.").Register(registry);
  steps.Add({{"stage", "1"}}).Increment(3);
  const std::string text = RenderMetrics(registry);
  EXPECT_THAT(text, HasSubstr("# HELP baton_steps_total Steps.\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE baton_steps_total counter\n"));
  EXPECT_THAT(text, HasSubstr("baton_steps_total{stage=\"1\"} 3\n"));
}

TEST(RenderMetrics, WritesHistogramBuckets) {
  prometheus::Registry registry;
  prometheus::BuildHistogram()
      .Name("baton_step_seconds")
      .Register(registry)
      .Add({}, prometheus::Histogram::BucketBoundaries{0.1, 1})
      .Observe(0.5);
  const std::string text = RenderMetrics(registry);
  EXPECT_THAT(text, HasSubstr("baton_step_seconds_bucket{le=\"0.1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("baton_step_seconds_bucket{le=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("baton_step_seconds_bucket{le=\"+Inf\"} 1\n"));
}

TEST(RenderMetrics, IsEmptyForAnEmptyRegistry) {
  EXPECT_EQ(RenderMetrics(prometheus::Registry()), "");
}

}  // namespace
}  // namespace baton
