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
