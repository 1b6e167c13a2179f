#include "tools/top/metric_samples.h"

#include "gtest/gtest.h"

namespace baton::top {
namespace {

constexpr absl::string_view kText =
    "# HELP a_total Things\n# TYPE a_total counter\na_total{code=\"200\",route=\"/x y\"} 3\n"
    "a_total{code=\"500\",route=\"/\"} 4\na_total_more 100\nb 1.5\nc_sum 2e-3\nnot a number\n\n";

TEST(MetricSamples, SumsTheSeriesOfAMetric) {
  const MetricSamples samples = MetricSamples::Parse(kText);
  EXPECT_EQ(samples.Get("a_total"), 7);
  EXPECT_EQ(samples.Get("b"), 1.5);
  EXPECT_EQ(samples.Get("c_sum"), 0.002);
  EXPECT_EQ(samples.Find("a"), std::nullopt);
  EXPECT_EQ(samples.Get("a"), 0);
}

TEST(MetricSamples, SumsSeriesBehindOtherNames) {
  const MetricSamples samples = MetricSamples::Parse("a 1\na_x 2\na{l=\"1\"} 4\n");
  EXPECT_EQ(samples.Get("a"), 5);
}

TEST(MetricSamples, FindsLabelsAndPrefixes) {
  const MetricSamples samples = MetricSamples::Parse(kText);
  EXPECT_EQ(samples.Label("a_total", "route"), "/x y");
  EXPECT_EQ(samples.Label("a_total", "none"), "");
  EXPECT_EQ(samples.Label("b", "code"), "");
  EXPECT_TRUE(samples.HasPrefix("a_"));
  EXPECT_FALSE(samples.HasPrefix("z_"));
  EXPECT_TRUE(MetricSamples::Parse("").empty());
}

}  // namespace
}  // namespace baton::top
