// Asks processes for their metrics.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

#include "tools/top/metric_samples.h"
#include "tools/top/targets.h"

namespace baton::top {

struct Scrape {
  Target target;
  absl::Time time;        // when the answer was there
  MetricSamples samples;  // empty if there was no answer
  std::string error;      // why
};

// All at once; takes as long as the slowest, 2 seconds at most.
std::vector<Scrape> ScrapeAll(const std::vector<Target>& targets);

}  // namespace baton::top
