// The scheduler's metrics, baton_scheduler_*.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

#include "services/scheduler/pipeline/step_observer.h"

namespace baton::scheduler {

class SchedulerMetrics final : public StepObserver {
 public:
  // Registers the metrics in `registry` and keeps it.
  explicit SchedulerMetrics(std::shared_ptr<prometheus::Registry> registry);

  void OnStep(uint32_t num_rows, uint32_t num_tokens, absl::Duration duration) override;
  void OnStart(absl::Duration waited) override;
  void OnTokens(uint64_t num_tokens) override;
  void OnRefused(absl::string_view reason) override;
  void OnExpired(uint64_t num_requests) override;
  void OnStalledReader() override;
  void OnStepCost(const StepCost& cost) override;
  void OnStageLost(LossCause cause) override;
  void OnRecovery(absl::Duration duration) override;
  void OnCounts(const ScheduleCounts& counts, uint64_t epoch, bool ready) override;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Gauge& running_;
  prometheus::Gauge& waiting_;
  prometheus::Gauge& paused_;
  prometheus::Gauge& suspended_;
  prometheus::Gauge& queue_tokens_;
  prometheus::Gauge& predicted_wait_;
  prometheus::Gauge& short_step_;
  std::array<prometheus::Counter*, kNumFloodable> short_steps_ = {};  // by what is flooded
  prometheus::Gauge& used_blocks_;
  prometheus::Gauge& total_blocks_;
  prometheus::Gauge& epoch_;
  prometheus::Gauge& group_ready_;
  prometheus::Counter& pauses_;
  prometheus::Counter& suspensions_;
  prometheus::Counter& preemptions_;
  prometheus::Counter& prefix_queries_;
  prometheus::Counter& prefix_hits_;
  prometheus::Counter& evicted_blocks_;
  prometheus::Counter& steps_;
  prometheus::Counter& computed_tokens_;
  prometheus::Counter& generated_tokens_;
  prometheus::Family<prometheus::Counter>& refused_;
  prometheus::Counter& expired_;
  prometheus::Counter& stalled_readers_;
  prometheus::Histogram& step_rows_;
  prometheus::Histogram& step_seconds_;
  prometheus::Histogram& queue_seconds_;
  prometheus::Family<prometheus::Gauge>& step_cost_seconds_;  // by stage and term
  prometheus::Family<prometheus::Gauge>& step_cost_error_;    // by stage
  prometheus::Gauge& step_cost_expert_share_;
  prometheus::Gauge& step_cost_steps_;
  std::array<prometheus::Counter*, kNumLossCauses> stage_losses_;  // by cause
  prometheus::Histogram& recovery_seconds_;
  ScheduleCounts last_counts_;
};

}  // namespace baton::scheduler
