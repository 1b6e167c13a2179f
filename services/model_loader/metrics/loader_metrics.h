// What a loader tells Prometheus, all under baton_loader_.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace baton::loader {

// Any thread may call any function.
class LoaderMetrics final {
 public:
  // `registry` must outlive this object.
  explicit LoaderMetrics(prometheus::Registry* registry);

  void SetModel(uint64_t total_bytes, uint64_t num_tensors, uint64_t num_files);
  void LoadStarted();
  // `fraction`: part of all of the stage's weights that it has, 0 to 1.
  void LoadAdvanced(uint32_t stage, uint64_t new_read_bytes, uint64_t new_sent_bytes,
                    double fraction);
  void LoadEnded(const absl::Status& status, absl::Duration elapsed);
  // Totals of the reader: attempts that failed, reads that hang.
  void SetReadFaults(uint64_t failed_attempts, int stuck_threads);

 private:
  prometheus::Gauge& model_bytes_;
  prometheus::Gauge& model_tensors_;
  prometheus::Gauge& model_files_;
  prometheus::Gauge& active_loads_;
  prometheus::Gauge& failed_reads_;
  prometheus::Gauge& stuck_reads_;
  prometheus::Counter& read_bytes_;
  prometheus::Counter& sent_bytes_;
  prometheus::Family<prometheus::Gauge>& fraction_;
  prometheus::Family<prometheus::Counter>& loads_;
  prometheus::Histogram& seconds_;
};

}  // namespace baton::loader
