// Those of vLLM's metrics that the scheduler counts and the gateway follows: tokens of a step,
// shape of the KV cache, what became of guessed tokens.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/metrics/metric_adder.h"

namespace baton::gateway {

// One thread at a time. A scheduler that started again counts from 0; these go on.
class VllmStepMetrics final {
 public:
  // Keeps `registry`.
  VllmStepMetrics(const std::shared_ptr<prometheus::Registry>& registry,
                  const std::string& model_name);

  void SetGroupState(const v1::GroupState& state);

 private:
  void FollowStepTokens(const v1::StepTokenState& steps);
  // Keeps one series, of the latest shape that is known.
  void SetCacheShape(uint32_t block_tokens, uint32_t num_blocks);
  // That of place 0 is there from the start, as the counters without places.
  FollowingCounter& AcceptedAt(size_t place);

  const std::shared_ptr<prometheus::Registry> registry_;
  const MetricAdder adder_;
  prometheus::Histogram& iteration_tokens_;
  std::vector<uint64_t> last_num_steps_;  // as in v1::StepTokenState
  uint64_t last_num_tokens_ = 0;
  prometheus::Family<prometheus::Gauge>& cache_config_family_;
  prometheus::Gauge* cache_config_ = nullptr;
  uint32_t block_tokens_ = 0;  // that it tells
  uint32_t num_blocks_ = 0;    // likewise
  FollowingCounter drafts_;
  FollowingCounter draft_tokens_;
  FollowingCounter accepted_tokens_;
  std::deque<FollowingCounter> accepted_at_;  // by place
};

}  // namespace baton::gateway
