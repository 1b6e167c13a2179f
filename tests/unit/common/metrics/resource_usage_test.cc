#include "common/metrics/resource_usage.h"

#include <ctime>
#include <map>
#include <string>

#include "gtest/gtest.h"

namespace baton {
namespace {

std::map<std::string, double> Values() {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : ResourceUsage().Collect()) {
    const prometheus::ClientMetric& metric = family.metric.at(0);
    values[family.name] =
        family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  return values;
}

TEST(ResourceUsage, ReportsThisProcess) {
  const std::map<std::string, double> values = Values();
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GE(values.at("process_virtual_memory_bytes"), values.at("process_resident_memory_bytes"));
  EXPECT_GE(values.at("process_threads"), 1);
  EXPECT_GE(values.at("process_open_fds"), 3);
  EXPECT_GE(values.at("process_max_fds"), values.at("process_open_fds"));
  EXPECT_GE(values.at("process_cpu_seconds_total"), 0);
}

TEST(ResourceUsage, StartedBeforeNowAndAfterYesterday) {
  const auto now = static_cast<double>(std::time(nullptr));
  const double start = Values().at("process_start_time_seconds");
  EXPECT_LE(start, now + 2);
  EXPECT_GT(start, now - 86400);
}

}  // namespace
}  // namespace baton
