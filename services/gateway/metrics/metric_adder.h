// Adds metrics that all carry the same labels to a registry.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace baton::gateway {

using Labels = std::map<std::string, std::string>;

// What it returns lives as long as the registry. Asking twice for the same name and labels gives
// the same metric.
class MetricAdder final {
 public:
  MetricAdder(std::shared_ptr<prometheus::Registry> registry, Labels labels)
      : registry_(std::move(registry)), labels_(std::move(labels)) {}

  // `more`: labels of this series beside the common ones.
  prometheus::Counter& Counter(const std::string& name, const std::string& help,
                               const Labels& more = {}) const {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(With(more));
  }
  prometheus::Gauge& Gauge(const std::string& name, const std::string& help,
                           const Labels& more = {}) const {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(With(more));
  }
  prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                   const std::vector<double>& buckets) const {
    return prometheus::BuildHistogram()
        .Name(name)
        .Help(help)
        .Register(*registry_)
        .Add(labels_, buckets);
  }

 private:
  Labels With(const Labels& more) const {
    Labels all = labels_;
    all.insert(more.begin(), more.end());
    return all;
  }

  const std::shared_ptr<prometheus::Registry> registry_;
  const Labels labels_;
};

// A counter that follows a number which another process counts, and which starts again at 0 when
// that process does. One thread at a time.
class FollowingCounter final {
 public:
  explicit FollowingCounter(prometheus::Counter& counter) : counter_(counter) {}
  void Follow(uint64_t now) {
    counter_.Increment(static_cast<double>(now >= last_ ? now - last_ : now));
    last_ = now;
  }

 private:
  prometheus::Counter& counter_;
  uint64_t last_ = 0;
};

}  // namespace baton::gateway
