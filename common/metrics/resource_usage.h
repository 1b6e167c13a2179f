// What this process takes from the machine, under the names that every Prometheus client uses:
// process_resident_memory_bytes, process_virtual_memory_bytes, process_cpu_seconds_total,
// process_open_fds, process_max_fds, process_threads, process_start_time_seconds.
#pragma once

#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace baton {

class ResourceUsage final : public prometheus::Collectable {
 public:
  // Reads /proc/self now; a value that cannot be read is left out. Any thread.
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace baton
