// Those of vLLM's metrics that only a scheduler knows: tokens of a step, shape of the KV cache.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

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

 private:
  const uint32_t block_tokens_;
  prometheus::Histogram& iteration_tokens_;
  prometheus::Family<prometheus::Gauge>& cache_config_family_;
  prometheus::Gauge* cache_config_ = nullptr;
  uint32_t num_blocks_ = 0;  // that it tells
};

}  // namespace baton::scheduler
