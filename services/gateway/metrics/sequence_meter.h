// Measures one sequence from the arrival of its request to its end.
#pragma once

#include <chrono>
#include <cstdint>

#include "absl/time/time.h"

#include "services/gateway/metrics/vllm_metrics.h"

namespace baton::gateway {

// Never jumps, whatever happens to the time of day.
using MonotonicTime = std::chrono::steady_clock::time_point;

// One thread. Every `now` is of the monotonic clock and not before the one of the call before.
class SequenceMeter final {
 public:
  // `metrics` must outlive this. `arrival`: of the request.
  SequenceMeter(VllmMetrics& metrics, MonotonicTime arrival, uint32_t num_prompt_tokens,
                uint32_t max_tokens);

  // The sequence went to the scheduler. The first call counts.
  void OnSubmitted(MonotonicTime now);
  // How long the scheduler let it wait, and what of its prompt was cached; before the first token.
  void SetQueued(absl::Duration queued);
  void SetCachedTokens(uint32_t num_cached_tokens);
  // `count` tokens came together; at least 1.
  void OnTokens(MonotonicTime now, uint32_t count);
  // Records the sequence. Once.
  void OnEnd(MonotonicTime now, v1::FinishReason reason);

 private:
  VllmMetrics& metrics_;
  const MonotonicTime arrival_;
  MonotonicTime submitted_{};
  MonotonicTime first_token_{};
  MonotonicTime last_token_{};
  SequenceRecord record_;
};

}  // namespace baton::gateway
