// Prometheus' text form of metrics.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "prometheus/collectable.h"

namespace baton {

inline constexpr absl::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Everything that `metrics` (a prometheus::Registry, for example) holds now. Any thread.
std::string RenderMetrics(const prometheus::Collectable& metrics);

}  // namespace baton
