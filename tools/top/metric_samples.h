// The samples of one process's /metrics.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace baton::top {

class MetricSamples final {
 public:
  // Takes Prometheus' text form; lines that are none are skipped.
  static MetricSamples Parse(absl::string_view text);

  bool empty() const { return samples_.empty(); }
  // Sum over all series of `name`; nothing if there is none.
  std::optional<double> Find(absl::string_view name) const;
  // The same, 0 if there is none.
  double Get(absl::string_view name) const { return Find(name).value_or(0); }
  // Whether a metric's name begins so.
  bool HasPrefix(absl::string_view prefix) const;
  // The value of a label of the first series of `name`; empty if there is none.
  std::string Label(absl::string_view name, absl::string_view label) const;

 private:
  std::map<std::string, double, std::less<>> samples_;  // by name with labels
};

}  // namespace baton::top
