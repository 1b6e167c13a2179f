#include "services/model_loader/metrics/loader_metrics.h"

#include <map>
#include <string>

#include "gtest/gtest.h"

namespace baton::loader {
namespace {

// Counters and gauges as name{label="value"}; a histogram's number of observations.
std::map<std::string, double> Values(prometheus::Registry& registry) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string name = family.name;
      for (const auto& label : metric.label) name += "{" + label.name + "=" + label.value + "}";
      switch (family.type) {
        case prometheus::MetricType::Counter:
          values[name] = metric.counter.value;
          break;
        case prometheus::MetricType::Gauge:
          values[name] = metric.gauge.value;
          break;
        default:
          values[name] = static_cast<double>(metric.histogram.sample_count);
      }
    }
  }
  return values;
}

TEST(LoaderMetrics, TellTheModelsSize) {
  prometheus::Registry registry;
  LoaderMetrics metrics(&registry);
  metrics.SetModel(1'000'000'000'000, 91'991, 163);
  const auto values = Values(registry);
  EXPECT_EQ(values.at("baton_loader_model_bytes"), 1e12);
  EXPECT_EQ(values.at("baton_loader_model_tensors"), 91'991);
  EXPECT_EQ(values.at("baton_loader_model_files"), 163);
}

TEST(LoaderMetrics, CountLoadsUnderWayAndByHowTheyEnded) {
  prometheus::Registry registry;
  LoaderMetrics metrics(&registry);
  metrics.LoadStarted();
  metrics.LoadStarted();
  metrics.LoadStarted();
  metrics.LoadEnded(absl::OkStatus(), absl::Seconds(7));
  metrics.LoadEnded(absl::UnavailableError("gone"), absl::Seconds(2));
  const auto values = Values(registry);
  EXPECT_EQ(values.at("baton_loader_active_loads"), 1);
  EXPECT_EQ(values.at("baton_loader_loads_total{status=OK}"), 1);
  EXPECT_EQ(values.at("baton_loader_loads_total{status=UNAVAILABLE}"), 1);
  EXPECT_EQ(values.at("baton_loader_load_seconds"), 1) << "of those that succeeded";
}

TEST(LoaderMetrics, AddUpBytesAndKeepTheNewestPartOfEachStage) {
  prometheus::Registry registry;
  LoaderMetrics metrics(&registry);
  metrics.LoadAdvanced(0, 100, 60, 0.25);
  metrics.LoadAdvanced(1, 10, 10, 1.0);
  metrics.LoadAdvanced(0, 50, 70, 0.5);
  const auto values = Values(registry);
  EXPECT_EQ(values.at("baton_loader_read_bytes_total"), 160);
  EXPECT_EQ(values.at("baton_loader_sent_bytes_total"), 140);
  EXPECT_EQ(values.at("baton_loader_load_fraction{stage=0}"), 0.5);
  EXPECT_EQ(values.at("baton_loader_load_fraction{stage=1}"), 1.0);
}

TEST(LoaderMetrics, ShowTheReadersTotals) {
  prometheus::Registry registry;
  LoaderMetrics metrics(&registry);
  metrics.SetReadFaults(5, 2);
  metrics.SetReadFaults(6, 0);
  const auto values = Values(registry);
  EXPECT_EQ(values.at("baton_loader_failed_read_attempts"), 6);
  EXPECT_EQ(values.at("baton_loader_stuck_reads"), 0);
}

}  // namespace
}  // namespace baton::loader
