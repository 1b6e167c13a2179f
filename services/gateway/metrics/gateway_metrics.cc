#include "services/gateway/metrics/gateway_metrics.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/text_serializer.h"

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
const std::vector<double> kRefusalSeconds = {.0002, .0005, .001, .002, .003, .005, .01,
                                             .02,   .05,   .1,   .5,   1,    5,    30};
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

}  // namespace

prometheus::Counter& GatewayMetrics::AddCounter(const std::string& name, const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels_);
}

prometheus::Gauge& GatewayMetrics::AddGauge(const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels_);
}

prometheus::Histogram& GatewayMetrics::AddHistogram(const std::string& name,
                                                    const std::string& help,
                                                    const std::vector<double>& buckets) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(*registry_)
      .Add(labels_, buckets);
}

GatewayMetrics::GatewayMetrics(std::shared_ptr<prometheus::Registry> registry,
                               const std::string& model_name, int64_t max_model_len)
    : registry_(std::move(registry)),
      labels_({{"model_name", model_name}, {"engine", "0"}}),
      http_answers_(prometheus::BuildCounter()
                        .Name("baton_gateway_http_answers_total")
                        .Help("HTTP answers by route and status code")
                        .Register(*registry_)),
      refusals_(prometheus::BuildCounter()
                    .Name("baton_gateway_refusals_total")
                    .Help("Generation requests refused or failed, by reason")
                    .Register(*registry_)),
      success_(prometheus::BuildCounter()
                   .Name("vllm:request_success_total")
                   .Help("Finished sequences by reason")
                   .Register(*registry_)),
      refusal_seconds_(AddHistogram("baton_gateway_refusal_seconds",
                                    "Arrival of a request to its answer 429 or 503",
                                    kRefusalSeconds)),
      disconnects_(AddCounter("baton_gateway_client_disconnects_total",
                              "Generation requests whose client closed the connection")),
      resubmissions_(AddCounter("baton_gateway_resubmissions_total",
                                "Sequences given to the scheduler again after it was lost")),
      live_requests_(AddGauge("baton_gateway_live_requests", "Generation requests being served")),
      group_ready_(AddGauge("baton_gateway_group_ready", "1 when a token can be produced now")),
      group_epoch_(AddGauge("baton_gateway_group_epoch", "Epoch of the group")),
      running_(AddGauge("vllm:num_requests_running", "Sequences in execution")),
      waiting_(AddGauge("vllm:num_requests_waiting", "Sequences that wait")),
      kv_usage_(AddGauge("vllm:kv_cache_usage_perc", "Used part of the KV cache, 0 to 1")),
      kv_usage_old_name_(
          AddGauge("vllm:gpu_cache_usage_perc", "As vllm:kv_cache_usage_perc, older name")),
      preemptions_(AddCounter("vllm:num_preemptions_total", "Preempted sequences")),
      prompt_tokens_(AddCounter("vllm:prompt_tokens_total", "Prompt tokens processed")),
      cached_tokens_(AddCounter("vllm:prompt_tokens_cached_total", "Prompt tokens from the cache")),
      generation_tokens_(AddCounter("vllm:generation_tokens_total", "Tokens generated")),
      prefix_queries_(
          AddCounter("vllm:prefix_cache_queries_total", "Tokens looked up in the prefix cache")),
      prefix_hits_(AddCounter("vllm:prefix_cache_hits_total", "Tokens found in the prefix cache")),
      time_to_first_token_(AddHistogram("vllm:time_to_first_token_seconds",
                                        "Arrival to first token", kFirstTokenSeconds)),
      inter_token_(
          AddHistogram("vllm:inter_token_latency_seconds", "Between tokens", kPerTokenSeconds)),
      time_per_token_(AddHistogram("vllm:request_time_per_output_token_seconds",
                                   "Mean time per token after the first, by sequence",
                                   kPerTokenSeconds)),
      end_to_end_(AddHistogram("vllm:e2e_request_latency_seconds", "Arrival to last token",
                               kRequestSeconds)),
      decode_time_(
          AddHistogram("vllm:request_decode_time_seconds", "First to last token", kRequestSeconds)),
      request_prompt_tokens_(AddHistogram("vllm:request_prompt_tokens", "Prompt tokens by request",
                                          TokenBuckets(max_model_len))),
      request_generation_tokens_(AddHistogram("vllm:request_generation_tokens",
                                              "Generated tokens by sequence",
                                              TokenBuckets(max_model_len))),
      request_max_tokens_(AddHistogram("vllm:request_params_max_tokens",
                                       "Most tokens that a request allows",
                                       TokenBuckets(max_model_len))),
      request_num_choices_(
          AddHistogram("vllm:request_params_n", "Choices by request", kNumChoices)) {
  // Series that are there from the start can be subtracted from.
  for (v1::FinishReason reason : {v1::FINISH_REASON_STOP, v1::FINISH_REASON_LENGTH,
                                  v1::FINISH_REASON_ABORT, v1::FINISH_REASON_ERROR}) {
    FinishCounter(reason);
  }
}

prometheus::Counter& GatewayMetrics::FinishCounter(v1::FinishReason reason) {
  Labels labels = labels_;
  labels["finished_reason"] = std::string(FinishName(reason));
  return success_.Add(labels);
}

void GatewayMetrics::CountHttpAnswer(absl::string_view route, int status) {
  http_answers_.Add({{"route", std::string(route)}, {"code", absl::StrCat(status)}}).Increment();
}

void GatewayMetrics::CountRefusal(absl::string_view reason) {
  refusals_.Add({{"reason", std::string(reason)}}).Increment();
}

void GatewayMetrics::RecordTurnedAway(absl::Duration since_arrival) {
  refusal_seconds_.Observe(absl::ToDoubleSeconds(since_arrival));
}

void GatewayMetrics::CountDisconnect() { disconnects_.Increment(); }

void GatewayMetrics::CountResubmission() { resubmissions_.Increment(); }

void GatewayMetrics::SetLiveRequests(size_t count) {
  live_requests_.Set(static_cast<double>(count));
}

void GatewayMetrics::RecordAdmitted(uint32_t num_prompt_tokens, uint32_t max_tokens,
                                    uint32_t num_choices) {
  request_prompt_tokens_.Observe(num_prompt_tokens);
  request_max_tokens_.Observe(max_tokens);
  request_num_choices_.Observe(num_choices);
}

void GatewayMetrics::RecordFirstToken(absl::Duration since_arrival, uint32_t num_prompt_tokens,
                                      uint32_t num_cached_tokens) {
  time_to_first_token_.Observe(absl::ToDoubleSeconds(since_arrival));
  prompt_tokens_.Increment(num_prompt_tokens);
  prefix_queries_.Increment(num_prompt_tokens);
  cached_tokens_.Increment(num_cached_tokens);
  prefix_hits_.Increment(num_cached_tokens);
}

void GatewayMetrics::RecordTokens(uint32_t count) { generation_tokens_.Increment(count); }

void GatewayMetrics::RecordInterTokenLatency(absl::Duration latency) {
  inter_token_.Observe(absl::ToDoubleSeconds(latency));
}

void GatewayMetrics::RecordSequence(const SequenceRecord& record) {
  FinishCounter(record.finish_reason).Increment();
  end_to_end_.Observe(absl::ToDoubleSeconds(record.total));
  request_generation_tokens_.Observe(record.num_generated_tokens);
  if (record.num_generated_tokens < 2) return;
  const double decode = absl::ToDoubleSeconds(record.decode);
  decode_time_.Observe(decode);
  time_per_token_.Observe(decode / (record.num_generated_tokens - 1));
}

void GatewayMetrics::SetGroupState(const v1::GroupState& state, bool ready) {
  group_ready_.Set(ready ? 1 : 0);
  group_epoch_.Set(static_cast<double>(state.epoch()));
  running_.Set(state.num_running());
  waiting_.Set(state.num_waiting());
  const double usage =
      state.num_total_blocks() == 0
          ? 0
          : static_cast<double>(state.num_used_blocks()) / state.num_total_blocks();
  kv_usage_.Set(usage);
  kv_usage_old_name_.Set(usage);
  // A restarted scheduler counts from zero again.
  if (state.num_preemptions() < num_preemptions_) num_preemptions_ = 0;
  preemptions_.Increment(static_cast<double>(state.num_preemptions() - num_preemptions_));
  num_preemptions_ = state.num_preemptions();
}

std::string GatewayMetrics::Render() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace baton::gateway
