#include "services/gateway/metrics/sequence_meter.h"

#include <algorithm>

namespace baton::gateway {
namespace {

absl::Duration Between(MonotonicTime begin, MonotonicTime end) {
  return absl::FromChrono(end - begin);
}

}  // namespace

SequenceMeter::SequenceMeter(VllmMetrics& metrics, MonotonicTime arrival,
                             uint32_t num_prompt_tokens, uint32_t max_tokens)
    : metrics_(metrics), arrival_(arrival) {
  record_.num_prompt_tokens = num_prompt_tokens;
  record_.max_tokens = max_tokens;
}

void SequenceMeter::OnSubmitted(MonotonicTime now) {
  if (submitted_ == MonotonicTime{}) submitted_ = now;
}

void SequenceMeter::SetQueued(absl::Duration queued) {
  if (record_.num_generated_tokens == 0) record_.queued = queued;
}

void SequenceMeter::SetCachedTokens(uint32_t num_cached_tokens) {
  record_.num_cached_tokens = std::min(num_cached_tokens, record_.num_prompt_tokens);
}

void SequenceMeter::OnTokens(MonotonicTime now, uint32_t count) {
  metrics_.RecordTokens(count);
  if (record_.num_generated_tokens == 0) {
    first_token_ = now;
    metrics_.RecordFirstToken(Between(arrival_, now), record_.num_prompt_tokens,
                              record_.num_cached_tokens);
  } else {
    metrics_.RecordInterTokenLatency(Between(last_token_, now));
  }
  last_token_ = now;
  record_.num_generated_tokens += count;
}

void SequenceMeter::OnEnd(MonotonicTime now, v1::FinishReason reason) {
  record_.finish_reason = reason;
  record_.total = Between(arrival_, now);
  if (record_.num_generated_tokens > 0) {
    // Two processes, each with its own clock: only lengths are compared.
    const absl::Duration answering = Between(submitted_, first_token_);
    record_.queued = std::min(record_.queued, answering);
    record_.prefill = answering - record_.queued;
    record_.decode = Between(first_token_, last_token_);
  }
  metrics_.RecordSequence(record_);
}

}  // namespace baton::gateway
