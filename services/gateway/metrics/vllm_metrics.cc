#include "services/gateway/metrics/vllm_metrics.h"

#include <vector>

#include "absl/strings/string_view.h"

namespace baton::gateway {
namespace {

// Bucket bounds are those that vLLM's dashboards expect.
const std::vector<double> kFirstTokenSeconds = {.001, .005, .01, .02, .04, .06, .08, .1,
                                                .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                                                20,   40,   80,  160, 640, 2560};
const std::vector<double> kPerTokenSeconds = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                              .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
const std::vector<double> kRequestSeconds = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kNumChoices = {1, 2, 5, 10, 20};

// 1, 2, 5, 10 ... up to `most`.
std::vector<double> TokenBuckets(int64_t most) {
  std::vector<double> buckets;
  for (int64_t decade = 1; decade <= most; decade *= 10) {
    for (int64_t step : {1, 2, 5}) {
      if (decade * step <= most) buckets.push_back(static_cast<double>(decade * step));
    }
  }
  return buckets;
}

absl::string_view FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    case v1::FINISH_REASON_ABORT:
      return "abort";
    default:
      return "error";
  }
}

void Observe(prometheus::Histogram& histogram, absl::Duration duration) {
  histogram.Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace

VllmMetrics::VllmMetrics(const std::shared_ptr<prometheus::Registry>& registry,
                         const std::string& model_name, int64_t max_model_len)
    : adder_(registry, {{"model_name", model_name}, {"engine", "0"}}),
      running_(adder_.Gauge("vllm:num_requests_running", "Sequences in execution")),
      waiting_(adder_.Gauge("vllm:num_requests_waiting", "Sequences that wait")),
      waiting_for_capacity_(adder_.Gauge("vllm:num_requests_waiting_by_reason",
                                         "Sequences that wait, by reason",
                                         {{"reason", "capacity"}})),
      kv_usage_(adder_.Gauge("vllm:kv_cache_usage_perc", "Used part of the KV cache, 0 to 1")),
      preemptions_(adder_.Counter("vllm:num_preemptions_total", "Preempted sequences")),
      prefix_queries_(adder_.Counter("vllm:prefix_cache_queries_total",
                                     "Tokens looked up in the prefix cache")),
      prefix_hits_(
          adder_.Counter("vllm:prefix_cache_hits_total", "Tokens found in the prefix cache")),
      prompt_tokens_(adder_.Counter("vllm:prompt_tokens_total", "Prompt tokens processed")),
      cached_tokens_(
          adder_.Counter("vllm:prompt_tokens_cached_total", "Prompt tokens from the prefix cache")),
      computed_tokens_(adder_.Counter("vllm:prompt_tokens_by_source_total",
                                      "Prompt tokens, by where their KV comes from",
                                      {{"source", "local_compute"}})),
      hit_tokens_(adder_.Counter("vllm:prompt_tokens_by_source_total",
                                 "Prompt tokens, by where their KV comes from",
                                 {{"source", "local_cache_hit"}})),
      generation_tokens_(adder_.Counter("vllm:generation_tokens_total", "Tokens generated")),
      time_to_first_token_(adder_.Histogram("vllm:time_to_first_token_seconds",
                                            "Arrival to first token", kFirstTokenSeconds)),
      inter_token_(
          adder_.Histogram("vllm:inter_token_latency_seconds", "Between tokens", kPerTokenSeconds)),
      time_per_token_(adder_.Histogram("vllm:request_time_per_output_token_seconds",
                                       "Mean time per token after the first, by sequence",
                                       kPerTokenSeconds)),
      end_to_end_(
          adder_.Histogram("vllm:e2e_request_latency_seconds", "Arrival to end", kRequestSeconds)),
      queue_time_(adder_.Histogram("vllm:request_queue_time_seconds",
                                   "Submission to the scheduler to first step", kRequestSeconds)),
      prefill_time_(adder_.Histogram("vllm:request_prefill_time_seconds",
                                     "First step to first token", kRequestSeconds)),
      decode_time_(adder_.Histogram("vllm:request_decode_time_seconds", "First to last token",
                                    kRequestSeconds)),
      inference_time_(adder_.Histogram("vllm:request_inference_time_seconds",
                                       "First step to last token", kRequestSeconds)),
      request_prompt_tokens_(adder_.Histogram(
          "vllm:request_prompt_tokens", "Prompt tokens by sequence", TokenBuckets(max_model_len))),
      request_computed_tokens_(adder_.Histogram("vllm:request_prefill_kv_computed_tokens",
                                                "Prompt tokens by sequence without cached ones",
                                                TokenBuckets(max_model_len))),
      request_generation_tokens_(adder_.Histogram("vllm:request_generation_tokens",
                                                  "Generated tokens by sequence",
                                                  TokenBuckets(max_model_len))),
      request_max_generation_tokens_(adder_.Histogram(
          "vllm:request_max_num_generation_tokens", "Generated tokens of a prompt's longest choice",
          TokenBuckets(max_model_len))),
      request_max_tokens_(adder_.Histogram("vllm:request_params_max_tokens",
                                           "Most tokens that a sequence was allowed to generate",
                                           TokenBuckets(max_model_len))),
      request_num_choices_(
          adder_.Histogram("vllm:request_params_n", "Choices by prompt", kNumChoices)),
      old_kv_usage_(
          adder_.Gauge("vllm:gpu_cache_usage_perc", "Older name of vllm:kv_cache_usage_perc")),
      old_prefix_hit_rate_(adder_.Gauge("vllm:gpu_prefix_cache_hit_rate",
                                        "Older form of vllm:prefix_cache_hits / queries")),
      old_prefix_queries_(adder_.Counter("vllm:gpu_prefix_cache_queries_total",
                                         "Older name of vllm:prefix_cache_queries_total")),
      old_prefix_hits_(adder_.Counter("vllm:gpu_prefix_cache_hits_total",
                                      "Older name of vllm:prefix_cache_hits_total")),
      old_tokens_(adder_.Counter("vllm:tokens_total", "Prompt and generated tokens, older")),
      old_time_per_token_(adder_.Histogram("vllm:time_per_output_token_seconds",
                                           "Older name of vllm:inter_token_latency_seconds",
                                           kPerTokenSeconds)),
      old_queue_time_(adder_.Histogram("vllm:time_in_queue_requests",
                                       "Older name of vllm:request_queue_time_seconds",
                                       kRequestSeconds)) {
  // Series that are there from the start can be subtracted from.
  for (v1::FinishReason reason : {v1::FINISH_REASON_STOP, v1::FINISH_REASON_LENGTH,
                                  v1::FINISH_REASON_ABORT, v1::FINISH_REASON_ERROR}) {
    FinishCounter(reason);
  }
}

prometheus::Counter& VllmMetrics::FinishCounter(v1::FinishReason reason) {
  return adder_.Counter("vllm:request_success_total", "Finished sequences by reason",
                        {{"finished_reason", std::string(FinishName(reason))}});
}

void VllmMetrics::RecordFirstToken(absl::Duration since_arrival, uint32_t num_prompt_tokens,
                                   uint32_t num_cached_tokens) {
  Observe(time_to_first_token_, since_arrival);
  prompt_tokens_.Increment(num_prompt_tokens);
  old_tokens_.Increment(num_prompt_tokens);
  cached_tokens_.Increment(num_cached_tokens);
  hit_tokens_.Increment(num_cached_tokens);
  computed_tokens_.Increment(num_prompt_tokens - num_cached_tokens);
}

void VllmMetrics::RecordTokens(uint32_t count) {
  generation_tokens_.Increment(count);
  old_tokens_.Increment(count);
}

void VllmMetrics::RecordInterTokenLatency(absl::Duration latency) {
  Observe(inter_token_, latency);
  Observe(old_time_per_token_, latency);
}

void VllmMetrics::RecordSequence(const SequenceRecord& record) {
  FinishCounter(record.finish_reason).Increment();
  Observe(end_to_end_, record.total);
  request_prompt_tokens_.Observe(record.num_prompt_tokens);
  request_generation_tokens_.Observe(record.num_generated_tokens);
  request_max_tokens_.Observe(record.max_tokens);
  if (record.num_generated_tokens == 0) return;
  request_computed_tokens_.Observe(record.num_prompt_tokens - record.num_cached_tokens);
  Observe(queue_time_, record.queued);
  Observe(old_queue_time_, record.queued);
  Observe(prefill_time_, record.prefill);
  Observe(decode_time_, record.decode);
  Observe(inference_time_, record.prefill + record.decode);
  if (record.num_generated_tokens < 2) return;
  Observe(time_per_token_, record.decode / (record.num_generated_tokens - 1));
}

void VllmMetrics::RecordRequest(uint32_t num_choices, uint32_t max_generated_tokens) {
  request_num_choices_.Observe(num_choices);
  request_max_generation_tokens_.Observe(max_generated_tokens);
}

void VllmMetrics::SetGroupState(const v1::GroupState& state) {
  running_.Set(state.num_running());
  waiting_.Set(state.num_waiting());
  waiting_for_capacity_.Set(state.num_waiting());
  const auto part = [](uint64_t some, uint64_t all) {
    return all == 0 ? 0.0 : static_cast<double>(some) / static_cast<double>(all);
  };
  const double usage = part(state.num_used_blocks(), state.num_total_blocks());
  kv_usage_.Set(usage);
  old_kv_usage_.Set(usage);
  preemptions_.Follow(state.num_preemptions());
  prefix_queries_.Follow(state.num_prefix_query_tokens());
  prefix_hits_.Follow(state.num_prefix_hit_tokens());
  old_prefix_queries_.Follow(state.num_prefix_query_tokens());
  old_prefix_hits_.Follow(state.num_prefix_hit_tokens());
  old_prefix_hit_rate_.Set(part(state.num_prefix_hit_tokens(), state.num_prefix_query_tokens()));
}

}  // namespace baton::gateway
