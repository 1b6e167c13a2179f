// The metrics of vLLM, by its names, labels and buckets, so that dashboards, alerts and autoscalers
// made for it work unchanged. METRICS.md lists them and says which have no meaning here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "prometheus/registry.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/metrics/metric_adder.h"

namespace baton::gateway {

// One finished sequence. Intervals are of this process's monotonic clock, but for `queued`, which
// is of the scheduler's.
struct SequenceRecord {
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  uint32_t num_prompt_tokens = 0;
  uint32_t num_cached_tokens = 0;     // of the prompt's
  uint32_t num_generated_tokens = 0;  // 0: it ended before its first token
  uint32_t max_tokens = 0;            // most that it was allowed to generate
  absl::Duration total;               // arrival of the request to the end
  absl::Duration queued;              // submission to the first step
  absl::Duration prefill;             // first step to first token
  absl::Duration decode;              // first to last token
};

// Any thread, unless said otherwise.
class VllmMetrics final {
 public:
  // `max_model_len` bounds the buckets of token counts.
  VllmMetrics(const std::shared_ptr<prometheus::Registry>& registry, const std::string& model_name,
              int64_t max_model_len);

  // `since_arrival`: of the request.
  void RecordFirstToken(absl::Duration since_arrival, uint32_t num_prompt_tokens,
                        uint32_t num_cached_tokens);
  void RecordTokens(uint32_t count);
  void RecordInterTokenLatency(absl::Duration latency);
  void RecordSequence(const SequenceRecord& record);
  // A prompt with all its choices; `max_generated_tokens` of the longest one.
  void RecordRequest(uint32_t num_choices, uint32_t max_generated_tokens);

  // From one thread at a time.
  void SetGroupState(const v1::GroupState& state);

 private:
  prometheus::Counter& FinishCounter(v1::FinishReason reason);

  const MetricAdder adder_;

  // State of the group.
  prometheus::Gauge& running_;
  prometheus::Gauge& waiting_;
  prometheus::Gauge& waiting_for_capacity_;
  prometheus::Gauge& kv_usage_;
  FollowingCounter preemptions_;
  FollowingCounter prefix_queries_;
  FollowingCounter prefix_hits_;

  // Tokens.
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& cached_tokens_;
  prometheus::Counter& computed_tokens_;
  prometheus::Counter& hit_tokens_;
  prometheus::Counter& generation_tokens_;

  // Times.
  prometheus::Histogram& time_to_first_token_;
  prometheus::Histogram& inter_token_;
  prometheus::Histogram& time_per_token_;
  prometheus::Histogram& end_to_end_;
  prometheus::Histogram& queue_time_;
  prometheus::Histogram& prefill_time_;
  prometheus::Histogram& decode_time_;
  prometheus::Histogram& inference_time_;

  // Sizes.
  prometheus::Histogram& request_prompt_tokens_;
  prometheus::Histogram& request_computed_tokens_;
  prometheus::Histogram& request_generation_tokens_;
  prometheus::Histogram& request_max_generation_tokens_;
  prometheus::Histogram& request_max_tokens_;
  prometheus::Histogram& request_num_choices_;

  // The same under names of older versions.
  prometheus::Gauge& old_kv_usage_;
  prometheus::Gauge& old_prefix_hit_rate_;
  FollowingCounter old_prefix_queries_;
  FollowingCounter old_prefix_hits_;
  prometheus::Counter& old_tokens_;
  prometheus::Histogram& old_time_per_token_;
  prometheus::Histogram& old_queue_time_;
};

}  // namespace baton::gateway
