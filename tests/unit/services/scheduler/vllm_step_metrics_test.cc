#include "services/scheduler/vllm_step_metrics.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace baton::scheduler {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(VllmStepMetrics, CountsTheTokensOfSteps) {
  prometheus::Registry registry;
  VllmStepMetrics metrics(registry, "m", 64);
  metrics.OnStep(3);
  metrics.OnStep(2048);
  const std::string text = prometheus::TextSerializer().Serialize(registry.Collect());
  EXPECT_THAT(text,
              HasSubstr("vllm:iteration_tokens_total_sum{engine=\"0\",model_name=\"m\"} 2051\n"));
  EXPECT_THAT(text, HasSubstr("le=\"8\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("le=\"2048\"} 2\n"));
}

TEST(VllmStepMetrics, CountsDraftsByTheirPlace) {
  prometheus::Registry registry;
  VllmStepMetrics metrics(registry, "m", 64);
  metrics.SetDrafts({});
  metrics.SetDrafts({.num_rows = 2, .num_tokens = 6, .num_accepted = 3, .accepted_at = {2, 1, 0}});
  metrics.SetDrafts({.num_rows = 3, .num_tokens = 9, .num_accepted = 5, .accepted_at = {3, 1, 1}});
  const std::string text = prometheus::TextSerializer().Serialize(registry.Collect());
  const auto series = [](const std::string& name, const std::string& more, int value) {
    return name + "{engine=\"0\",model_name=\"m\"" + more + "} " + std::to_string(value) + "\n";
  };
  EXPECT_THAT(text, HasSubstr(series("vllm:spec_decode_num_drafts_total", "", 3)));
  EXPECT_THAT(text, HasSubstr(series("vllm:spec_decode_num_draft_tokens_total", "", 9)));
  EXPECT_THAT(text, HasSubstr(series("vllm:spec_decode_num_accepted_tokens_total", "", 5)));
  const std::string at = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
  EXPECT_THAT(text, HasSubstr(series(at, ",position=\"0\"", 3)));
  EXPECT_THAT(text, HasSubstr(series(at, ",position=\"2\"", 1)));
}

TEST(VllmStepMetrics, TellsTheShapeOfTheCacheInOneSeries) {
  prometheus::Registry registry;
  VllmStepMetrics metrics(registry, "m", 64);
  for (const uint32_t num_blocks : {0u, 100u, 80u, 0u}) metrics.SetNumBlocks(num_blocks);
  const std::string text = prometheus::TextSerializer().Serialize(registry.Collect());
  EXPECT_THAT(text, HasSubstr("vllm:cache_config_info{block_size=\"64\",engine=\"0\","
                              "num_gpu_blocks=\"80\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("\"100\"")));
  EXPECT_THAT(text, Not(HasSubstr("num_gpu_blocks=\"0\"")));
}

}  // namespace
}  // namespace baton::scheduler
