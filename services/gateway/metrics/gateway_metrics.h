// What the gateway measures: its own figures, and vLLM's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "prometheus/registry.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/metrics/metric_adder.h"
#include "services/gateway/metrics/vllm_metrics.h"
#include "services/gateway/metrics/vllm_step_metrics.h"

namespace baton::gateway {

// Any thread, unless said otherwise. Label values come from fixed sets: no request can add a
// series.
class GatewayMetrics {
 public:
  // `max_model_len` bounds the buckets of token counts.
  GatewayMetrics(std::shared_ptr<prometheus::Registry> registry, const std::string& model_name,
                 int64_t max_model_len);

  // `route` must be one of the routes of the API or "other"; `method` may be any word.
  void CountHttpAnswer(absl::string_view route, absl::string_view method, int status);
  void CountRefusal(absl::string_view reason);
  // One of them was refused before its body was looked at.
  void CountEarlyRefusal();
  // A request was answered 429 or 503, so long after it had arrived.
  void RecordTurnedAway(absl::Duration since_arrival);
  void CountDisconnect();
  // One of them had stopped reading.
  void CountStalledClient();
  // The sequences of a stream pause: its client has left `num_bytes` untaken; until EndPause with
  // the same number.
  void BeginPause(size_t num_bytes);
  void EndPause(size_t num_bytes);
  // The bodies of requests hold so many bytes more; negative: fewer.
  void AddBodyBytes(int64_t num_bytes);
  // One was refused because all together would hold too many.
  void CountBodyRefusal();
  // A sequence was given to the scheduler again, with its tokens, after a loss.
  void CountResubmission();
  void SetLiveRequests(size_t count);

  VllmMetrics& vllm() { return vllm_; }

  // From one thread at a time.
  void SetGroupState(const v1::GroupState& state, bool ready);

  // The exposition format of everything in the registry.
  std::string Render() const;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  const MetricAdder adder_;
  VllmMetrics vllm_;
  VllmStepMetrics vllm_steps_;
  prometheus::Family<prometheus::Counter>& http_answers_;
  prometheus::Family<prometheus::Counter>& http_requests_;
  prometheus::Family<prometheus::Counter>& refusals_;
  prometheus::Counter& early_refusals_;
  prometheus::Histogram& refusal_seconds_;
  prometheus::Counter& disconnects_;
  prometheus::Counter& stalled_clients_;
  prometheus::Counter& resubmissions_;
  prometheus::Gauge& live_requests_;
  prometheus::Gauge& paused_requests_;
  prometheus::Gauge& paused_bytes_;
  prometheus::Gauge& body_bytes_;
  prometheus::Counter& body_refusals_;
  prometheus::Gauge& group_ready_;
  prometheus::Gauge& group_epoch_;
  prometheus::Gauge& waiting_tokens_;
  FollowingCounter evicted_blocks_;
};

}  // namespace baton::gateway
