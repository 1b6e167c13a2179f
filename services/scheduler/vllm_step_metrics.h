// Those of vLLM's metrics that only a scheduler knows: tokens of a step, shape of the KV cache,
// what became of guessed tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// The step loop's.
class VllmStepMetrics final {
 public:
  // `registry` must outlive this.
  VllmStepMetrics(prometheus::Registry& registry, const std::string& model_name,
                  uint32_t block_tokens);

  // Of a step that has any.
  void OnStep(uint32_t num_tokens) { iteration_tokens_.Observe(num_tokens); }
  // Keeps one series, of the latest number but 0.
  void SetNumBlocks(uint32_t num_blocks);
  // So far.
  void SetDrafts(const DraftCounts& counts);

 private:
  prometheus::Counter& AcceptedAt(size_t place);

  const uint32_t block_tokens_;
  const std::string model_name_;
  prometheus::Histogram& iteration_tokens_;
  prometheus::Family<prometheus::Gauge>& cache_config_family_;
  prometheus::Gauge* cache_config_ = nullptr;
  uint32_t num_blocks_ = 0;  // that it tells
  prometheus::Counter& drafts_;
  prometheus::Counter& draft_tokens_;
  prometheus::Counter& accepted_tokens_;
  prometheus::Family<prometheus::Counter>& accepted_at_;  // by position
  DraftCounts last_drafts_;
};

}  // namespace baton::scheduler
