#include "services/scheduler/vllm_step_metrics.h"

#include "absl/strings/str_cat.h"

namespace baton::scheduler {
namespace {

// As vLLM's dashboards expect.
const prometheus::Histogram::BucketBoundaries kIterationTokens = {
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

}  // namespace

VllmStepMetrics::VllmStepMetrics(prometheus::Registry& registry, const std::string& model_name,
                                 uint32_t block_tokens)
    : block_tokens_(block_tokens),
      iteration_tokens_(prometheus::BuildHistogram()
                            .Name("vllm:iteration_tokens_total")
                            .Help("Tokens of prompt and answer that a step computes.")
                            .Register(registry)
                            .Add({{"model_name", model_name}, {"engine", "0"}}, kIterationTokens)),
      cache_config_family_(prometheus::BuildGauge()
                               .Name("vllm:cache_config_info")
                               .Help("1; the labels tell the shape of the KV cache.")
                               .Register(registry)) {}

void VllmStepMetrics::SetNumBlocks(uint32_t num_blocks) {
  if (num_blocks == 0 || num_blocks == num_blocks_) return;
  if (cache_config_ != nullptr) cache_config_family_.Remove(cache_config_);
  num_blocks_ = num_blocks;
  cache_config_ = &cache_config_family_.Add({{"engine", "0"},
                                             {"block_size", absl::StrCat(block_tokens_)},
                                             {"num_gpu_blocks", absl::StrCat(num_blocks)}});
  cache_config_->Set(1);
}

}  // namespace baton::scheduler
