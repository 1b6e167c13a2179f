// The stage-worker's metrics, all named baton_stage_*.
#pragma once

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

#include "common/transport/transport.h"
#include "services/stage_worker/execution/step_result.h"
#include "services/stage_worker/metrics/stage_snapshot.h"

namespace baton::stage {

// Any thread.
class StageMetrics final {
 public:
  explicit StageMetrics(std::shared_ptr<prometheus::Registry> registry);

  void OnStep(const StepResult& result);
  void OnMembershipLost();
  // Brings gauges and the transport's counters up to date.
  void Update(const StageSnapshot& snapshot);

 private:
  // A counter that follows a number which another object counts, and which starts again at 0 when
  // that object is made anew.
  struct Follower {
    prometheus::Counter& counter;
    uint64_t last = 0;
    void Follow(uint64_t now);
  };

  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Counter& steps_;
  prometheus::Counter& memberships_lost_;
  prometheus::Histogram& queue_seconds_;
  prometheus::Histogram& receive_seconds_;
  prometheus::Histogram& compute_seconds_;
  prometheus::Histogram& send_seconds_;
  prometheus::Histogram& gap_seconds_;
  prometheus::Gauge& index_;
  prometheus::Gauge& layers_;
  prometheus::Gauge& ranks_;
  prometheus::Gauge& epoch_;
  prometheus::Gauge& joined_;
  prometheus::Gauge& sequences_;
  prometheus::Gauge& used_blocks_;
  prometheus::Gauge& total_blocks_;
  prometheus::Gauge& graphs_;
  prometheus::Gauge& graphs_refused_;
  prometheus::Gauge& weight_bytes_;
  prometheus::Gauge& kv_bytes_;
  prometheus::Gauge& constraint_bytes_;
  prometheus::Gauge& packed_mapped_bytes_;
  prometheus::Gauge& packed_adopt_seconds_;
  prometheus::Gauge& loaded_bytes_;
  prometheus::Gauge& load_total_bytes_;

  absl::Mutex mutex_;
  Follower packed_adopted_ ABSL_GUARDED_BY(mutex_);
  Follower packed_missed_ ABSL_GUARDED_BY(mutex_);
  Follower packed_damaged_ ABSL_GUARDED_BY(mutex_);
  Follower packed_written_ ABSL_GUARDED_BY(mutex_);
  Follower frames_sent_ ABSL_GUARDED_BY(mutex_);
  Follower bytes_sent_ ABSL_GUARDED_BY(mutex_);
  Follower frames_received_ ABSL_GUARDED_BY(mutex_);
  Follower bytes_received_ ABSL_GUARDED_BY(mutex_);
  Follower frames_refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::stage
