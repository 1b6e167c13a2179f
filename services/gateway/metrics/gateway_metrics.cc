#include "services/gateway/metrics/gateway_metrics.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "prometheus/text_serializer.h"

namespace baton::gateway {
namespace {

const std::vector<double> kRefusalSeconds = {.00005, .0001, .0002, .0005, .001, .002, .003, .005,
                                             .01,    .02,   .05,   .1,    .5,   1,    5,    30};

// Routes that vLLM does not count, for they would be most of the requests.
bool IsProbe(absl::string_view route) {
  return absl::StartsWith(route, "/health") || route == "/ping" || route == "/metrics" ||
         route == "/load" || route == "/version";
}

// Words that anybody may make up would be series without end.
absl::string_view KnownMethod(absl::string_view method) {
  for (const absl::string_view known :
       {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    if (method == known) return known;
  }
  return "other";
}

}  // namespace

GatewayMetrics::GatewayMetrics(std::shared_ptr<prometheus::Registry> registry,
                               const std::string& model_name, int64_t max_model_len)
    : registry_(std::move(registry)),
      adder_(registry_, {{"model_name", model_name}, {"engine", "0"}}),
      vllm_(registry_, model_name, max_model_len),
      vllm_steps_(registry_, model_name),
      http_answers_(prometheus::BuildCounter()
                        .Name("baton_gateway_http_answers_total")
                        .Help("HTTP answers by route and status code")
                        .Register(*registry_)),
      http_requests_(prometheus::BuildCounter()
                         .Name("http_requests_total")
                         .Help("HTTP requests by route, method and class of status code")
                         .Register(*registry_)),
      refusals_(prometheus::BuildCounter()
                    .Name("baton_gateway_refusals_total")
                    .Help("Generation requests refused or failed, by reason")
                    .Register(*registry_)),
      early_refusals_(adder_.Counter(
          "baton_gateway_early_refusals_total",
          "Refused before they were parsed, on the word that came with the last refusal")),
      refusal_seconds_(adder_.Histogram("baton_gateway_refusal_seconds",
                                        "Arrival of a request to its answer 429 or 503",
                                        kRefusalSeconds)),
      disconnects_(adder_.Counter("baton_gateway_client_disconnects_total",
                                  "Generation requests whose client closed the connection")),
      stalled_clients_(
          adder_.Counter("baton_gateway_stalled_clients_total",
                         "Of these: took less of their answer than --write-timeout asks for")),
      resubmissions_(adder_.Counter("baton_gateway_resubmissions_total",
                                    "Sequences given to the scheduler again after it was lost")),
      live_requests_(
          adder_.Gauge("baton_gateway_live_requests", "Generation requests being served")),
      paused_requests_(adder_.Gauge("baton_gateway_paused_requests",
                                    "Streams whose sequences wait for a client to read on")),
      paused_bytes_(adder_.Gauge("baton_gateway_paused_bytes",
                                 "Bytes that these clients had not taken when the pause began")),
      body_bytes_(adder_.Gauge("baton_gateway_body_bytes",
                               "Bytes that the bodies of HTTP requests hold, all together")),
      body_refusals_(
          adder_.Counter("baton_gateway_body_refusals_total",
                         "Requests answered 503 because the bodies of all would hold too much")),
      group_ready_(adder_.Gauge("baton_gateway_group_ready", "1 when a token can be produced now")),
      group_epoch_(adder_.Gauge("baton_gateway_group_epoch", "Epoch of the group")),
      waiting_tokens_(adder_.Gauge("baton_gateway_waiting_tokens",
                                   "Tokens of prompt and answer so far of waiting sequences")),
      evicted_blocks_(adder_.Counter("baton_gateway_evicted_blocks_total",
                                     "Cached KV blocks given to other sequences")) {}

void GatewayMetrics::CountHttpAnswer(absl::string_view route, absl::string_view method,
                                     int status) {
  http_answers_.Add({{"route", std::string(route)}, {"code", absl::StrCat(status)}}).Increment();
  if (IsProbe(route)) return;
  http_requests_
      .Add({{"handler", route == "other" ? "none" : std::string(route)},
            {"method", std::string(KnownMethod(method))},
            {"status", absl::StrCat(status / 100, "xx")}})
      .Increment();
}

void GatewayMetrics::CountRefusal(absl::string_view reason) {
  refusals_.Add({{"reason", std::string(reason)}}).Increment();
}

void GatewayMetrics::CountEarlyRefusal() { early_refusals_.Increment(); }

void GatewayMetrics::RecordTurnedAway(absl::Duration since_arrival) {
  refusal_seconds_.Observe(absl::ToDoubleSeconds(since_arrival));
}

void GatewayMetrics::CountDisconnect() { disconnects_.Increment(); }

void GatewayMetrics::CountStalledClient() { stalled_clients_.Increment(); }

void GatewayMetrics::BeginPause(size_t num_bytes) {
  paused_requests_.Increment();
  paused_bytes_.Increment(static_cast<double>(num_bytes));
}

void GatewayMetrics::EndPause(size_t num_bytes) {
  paused_requests_.Decrement();
  paused_bytes_.Decrement(static_cast<double>(num_bytes));
}

void GatewayMetrics::AddBodyBytes(int64_t num_bytes) {
  body_bytes_.Increment(static_cast<double>(num_bytes));
}

void GatewayMetrics::CountBodyRefusal() { body_refusals_.Increment(); }

void GatewayMetrics::CountResubmission() { resubmissions_.Increment(); }

void GatewayMetrics::SetLiveRequests(size_t count) {
  live_requests_.Set(static_cast<double>(count));
}

void GatewayMetrics::SetGroupState(const v1::GroupState& state, bool ready) {
  group_ready_.Set(ready ? 1 : 0);
  group_epoch_.Set(static_cast<double>(state.epoch()));
  waiting_tokens_.Set(static_cast<double>(state.num_waiting_tokens()));
  evicted_blocks_.Follow(state.num_evicted_blocks());
  vllm_.SetGroupState(state);
  vllm_steps_.SetGroupState(state);
}

std::string GatewayMetrics::Render() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace baton::gateway
