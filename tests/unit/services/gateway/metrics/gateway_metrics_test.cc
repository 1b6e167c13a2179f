#include "services/gateway/metrics/gateway_metrics.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Series(absl::string_view name, absl::string_view value) {
  return absl::StrCat(name, "{engine=\"0\",model_name=\"m\"} ", value, "\n");
}

class GatewayMetricsTest : public testing::Test {
 protected:
  GatewayMetrics metrics_{std::make_shared<prometheus::Registry>(), "m", 2048};
};

TEST_F(GatewayMetricsTest, ShowsTheGroupUnderVllmsNames) {
  v1::GroupState state;
  state.set_epoch(3);
  state.set_num_running(5);
  state.set_num_waiting(7);
  state.set_num_used_blocks(1);
  state.set_num_total_blocks(4);
  state.set_num_waiting_tokens(900);
  state.set_num_prefix_query_tokens(8);
  state.set_num_prefix_hit_tokens(6);
  metrics_.SetGroupState(state, true);
  const std::string text = metrics_.Render();
  for (const std::string& line :
       {Series("vllm:num_requests_running", "5"), Series("vllm:num_requests_waiting", "7"),
        Series("vllm:kv_cache_usage_perc", "0.25"), Series("vllm:gpu_cache_usage_perc", "0.25"),
        Series("vllm:prefix_cache_queries_total", "8"), Series("vllm:prefix_cache_hits_total", "6"),
        Series("vllm:gpu_prefix_cache_hit_rate", "0.75"),
        Series("baton_gateway_waiting_tokens", "900"), Series("baton_gateway_group_epoch", "3"),
        Series("baton_gateway_group_ready", "1")}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, HasSubstr("vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"m\","
                              "reason=\"capacity\"} 7\n"));
}

TEST_F(GatewayMetricsTest, ShowsWhatBodiesHold) {
  metrics_.AddBodyBytes(700);
  metrics_.AddBodyBytes(-300);
  metrics_.CountBodyRefusal();
  EXPECT_THAT(metrics_.Render(), HasSubstr(Series("baton_gateway_body_bytes", "400")));
  EXPECT_THAT(metrics_.Render(), HasSubstr(Series("baton_gateway_body_refusals_total", "1")));
}

TEST_F(GatewayMetricsTest, CountsOnWhenTheSchedulerStartsAgain) {
  v1::GroupState state;
  state.set_num_preemptions(10);
  state.set_num_evicted_blocks(4);
  metrics_.SetGroupState(state, true);
  state.set_num_preemptions(3);
  state.set_num_evicted_blocks(9);
  metrics_.SetGroupState(state, true);
  EXPECT_THAT(metrics_.Render(), HasSubstr(Series("vllm:num_preemptions_total", "13")));
  EXPECT_THAT(metrics_.Render(), HasSubstr(Series("baton_gateway_evicted_blocks_total", "9")));
}

// A report of the scheduler, which counts from its start.
v1::GroupState StateWithDrafts(uint64_t runs, uint64_t tokens, std::vector<uint64_t> accepted_at) {
  v1::GroupState state;
  state.mutable_drafts()->set_num_runs(runs);
  state.mutable_drafts()->set_num_tokens(tokens);
  uint64_t accepted = 0;
  for (const uint64_t at : accepted_at) {
    state.mutable_drafts()->add_accepted_at(at);
    accepted += at;
  }
  state.mutable_drafts()->set_num_accepted(accepted);
  return state;
}

TEST_F(GatewayMetricsTest, FollowsDraftsByTheirPlace) {
  const std::string at = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
  const auto place = [&at](int position, int value) {
    return absl::StrCat(at, "{engine=\"0\",model_name=\"m\",position=\"", position, "\"} ", value,
                        "\n");
  };
  const std::string at_first = metrics_.Render();
  EXPECT_THAT(at_first, HasSubstr(Series("vllm:spec_decode_num_drafts_total", "0")));
  EXPECT_THAT(at_first, HasSubstr(place(0, 0)));
  metrics_.SetGroupState(StateWithDrafts(2, 6, {2, 1, 0}), true);
  metrics_.SetGroupState(StateWithDrafts(3, 9, {3, 1, 1}), true);
  metrics_.SetGroupState(StateWithDrafts(1, 2, {1, 0}), true);  // another scheduler
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr(Series("vllm:spec_decode_num_drafts_total", "4")));
  EXPECT_THAT(text, HasSubstr(Series("vllm:spec_decode_num_draft_tokens_total", "11")));
  EXPECT_THAT(text, HasSubstr(Series("vllm:spec_decode_num_accepted_tokens_total", "6")));
  EXPECT_THAT(text, HasSubstr(place(0, 4)));
  EXPECT_THAT(text, HasSubstr(place(2, 1)));
  metrics_.SetGroupState(StateWithDrafts(1, 2, std::vector<uint64_t>(100, 1)), true);
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("position=\"64\"")));
}

TEST_F(GatewayMetricsTest, FollowsTheTokensOfSteps) {
  const auto report = [this](const std::vector<uint64_t>& num_steps, uint64_t num_tokens) {
    v1::GroupState state;
    state.mutable_step_tokens()->mutable_num_steps()->Add(num_steps.begin(), num_steps.end());
    state.mutable_step_tokens()->set_num_tokens(num_tokens);
    metrics_.SetGroupState(state, true);
  };
  const auto bucket = [](const std::string& bound, int value) {
    return absl::StrCat("vllm:iteration_tokens_total_bucket{engine=\"0\",model_name=\"m\",le=\"",
                        bound, "\"} ", value, "\n");
  };
  report({0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 3);
  report({0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 22051);
  report({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1);  // another scheduler
  report({1, 2, 3}, 99);                                  // of another version
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr(Series("vllm:iteration_tokens_total_sum", "22052")));
  EXPECT_THAT(text, HasSubstr(Series("vllm:iteration_tokens_total_count", "4")));
  EXPECT_THAT(text, HasSubstr(bucket("1", 1)));
  EXPECT_THAT(text, HasSubstr(bucket("8", 2)));
  EXPECT_THAT(text, HasSubstr(bucket("1024", 2)));
  EXPECT_THAT(text, HasSubstr(bucket("2048", 3)));
  EXPECT_THAT(text, HasSubstr(bucket("+Inf", 4)));
}

TEST_F(GatewayMetricsTest, TellsTheShapeOfTheCacheInOneSeries) {
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("num_gpu_blocks=")));
  for (const uint32_t num_blocks : {0u, 100u, 80u, 0u}) {
    v1::GroupState state;
    state.set_block_tokens(64);
    state.set_num_total_blocks(num_blocks);
    metrics_.SetGroupState(state, true);
  }
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr("vllm:cache_config_info{block_size=\"64\",engine=\"0\","
                              "num_gpu_blocks=\"80\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("num_gpu_blocks=\"100\"")));
  EXPECT_THAT(text, Not(HasSubstr("num_gpu_blocks=\"0\"")));
}

TEST_F(GatewayMetricsTest, CountsHttpRequestsAsVllmDoes) {
  metrics_.CountHttpAnswer("/v1/completions", "POST", 200);
  metrics_.CountHttpAnswer("/v1/completions", "POST", 201);
  metrics_.CountHttpAnswer("other", "BREW", 404);
  metrics_.CountHttpAnswer("/health/ready", "GET", 503);
  metrics_.CountHttpAnswer("/metrics", "GET", 200);
  const std::string text = metrics_.Render();
  EXPECT_THAT(
      text,
      HasSubstr(
          "http_requests_total{handler=\"/v1/completions\",method=\"POST\",status=\"2xx\"} 2"));
  EXPECT_THAT(text,
              HasSubstr("http_requests_total{handler=\"none\",method=\"other\",status=\"4xx\"} 1"));
  EXPECT_THAT(text, Not(HasSubstr("handler=\"/health")));
  EXPECT_THAT(text, Not(HasSubstr("handler=\"/metrics")));
  EXPECT_THAT(text, HasSubstr("baton_gateway_http_answers_total{code=\"503\","));
}

TEST_F(GatewayMetricsTest, CountsAPromptWithItsChoicesOnce) {
  metrics_.vllm().RecordRequest(3, 40);
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr(Series("vllm:request_params_n_sum", "3")));
  EXPECT_THAT(text, HasSubstr(Series("vllm:request_params_n_count", "1")));
  EXPECT_THAT(text, HasSubstr(Series("vllm:request_max_num_generation_tokens_sum", "40")));
}

TEST_F(GatewayMetricsTest, EndsTheBucketsOfTokenCountsAtTheModelsLength) {
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr("vllm:request_prompt_tokens_bucket{engine=\"0\",model_name=\"m\","
                              "le=\"2000\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("le=\"5000\"")));
}

}  // namespace
}  // namespace baton::gateway
