// What the gateway measures: its own figures, and vLLM's names so that dashboards made for it work.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "prometheus/registry.h"

#include "protos/baton/v1/scheduling.pb.h"

namespace baton::gateway {

// One finished sequence.
struct SequenceRecord {
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  uint32_t num_generated_tokens = 0;
  absl::Duration total;   // arrival of the request to the end
  absl::Duration decode;  // first to last token
};

// Any thread, unless said otherwise. Label values come from fixed sets: no request can add a
// series.
class GatewayMetrics {
 public:
  // `max_model_len` bounds the buckets of token counts.
  GatewayMetrics(std::shared_ptr<prometheus::Registry> registry, const std::string& model_name,
                 int64_t max_model_len);

  // `route` must be one of the routes of the API or "other".
  void CountHttpAnswer(absl::string_view route, int status);
  void CountRefusal(absl::string_view reason);
  // A request was answered 429 or 503, so long after it had arrived.
  void RecordTurnedAway(absl::Duration since_arrival);
  void CountDisconnect();
  // A sequence was given to the scheduler again, with its tokens, after a loss.
  void CountResubmission();
  void SetLiveRequests(size_t count);

  void RecordAdmitted(uint32_t num_prompt_tokens, uint32_t max_tokens, uint32_t num_choices);
  // `since_arrival`: of the request.
  void RecordFirstToken(absl::Duration since_arrival, uint32_t num_prompt_tokens,
                        uint32_t num_cached_tokens);
  void RecordTokens(uint32_t count);
  void RecordInterTokenLatency(absl::Duration latency);
  void RecordSequence(const SequenceRecord& record);

  // From one thread at a time.
  void SetGroupState(const v1::GroupState& state, bool ready);

  // The exposition format of everything in the registry.
  std::string Render() const;

 private:
  using Labels = std::map<std::string, std::string>;

  prometheus::Counter& AddCounter(const std::string& name, const std::string& help);
  prometheus::Gauge& AddGauge(const std::string& name, const std::string& help);
  prometheus::Histogram& AddHistogram(const std::string& name, const std::string& help,
                                      const std::vector<double>& buckets);

  prometheus::Counter& FinishCounter(v1::FinishReason reason);

  const std::shared_ptr<prometheus::Registry> registry_;
  const Labels labels_;

  prometheus::Family<prometheus::Counter>& http_answers_;
  prometheus::Family<prometheus::Counter>& refusals_;
  prometheus::Family<prometheus::Counter>& success_;
  prometheus::Histogram& refusal_seconds_;
  prometheus::Counter& disconnects_;
  prometheus::Counter& resubmissions_;
  prometheus::Gauge& live_requests_;
  prometheus::Gauge& group_ready_;
  prometheus::Gauge& group_epoch_;

  prometheus::Gauge& running_;
  prometheus::Gauge& waiting_;
  prometheus::Gauge& kv_usage_;
  prometheus::Gauge& kv_usage_old_name_;
  prometheus::Counter& preemptions_;
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& cached_tokens_;
  prometheus::Counter& generation_tokens_;
  prometheus::Counter& prefix_queries_;
  prometheus::Counter& prefix_hits_;
  prometheus::Histogram& time_to_first_token_;
  prometheus::Histogram& inter_token_;
  prometheus::Histogram& time_per_token_;
  prometheus::Histogram& end_to_end_;
  prometheus::Histogram& decode_time_;
  prometheus::Histogram& request_prompt_tokens_;
  prometheus::Histogram& request_generation_tokens_;
  prometheus::Histogram& request_max_tokens_;
  prometheus::Histogram& request_num_choices_;
  uint64_t num_preemptions_ = 0;  // counted so far
};

}  // namespace baton::gateway
