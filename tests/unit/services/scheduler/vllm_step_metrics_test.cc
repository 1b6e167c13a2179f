#include "services/scheduler/vllm_step_metrics.h"

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
