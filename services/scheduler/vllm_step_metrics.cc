#include "services/scheduler/vllm_step_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace baton::scheduler {
namespace {

// As vLLM's dashboards expect.
const prometheus::Histogram::BucketBoundaries kIterationTokens = {
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

prometheus::Counter& AddVllmCounter(prometheus::Registry& registry, const std::string& model_name,
                                    const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(
      {{"model_name", model_name}, {"engine", "0"}});
}

}  // namespace

VllmStepMetrics::VllmStepMetrics(prometheus::Registry& registry, const std::string& model_name,
                                 uint32_t block_tokens)
    : block_tokens_(block_tokens),
      model_name_(model_name),
      iteration_tokens_(prometheus::BuildHistogram()
                            .Name("vllm:iteration_tokens_total")
                            .Help("Tokens of prompt and answer that a step computes.")
                            .Register(registry)
                            .Add({{"model_name", model_name}, {"engine", "0"}}, kIterationTokens)),
      cache_config_family_(prometheus::BuildGauge()
                               .Name("vllm:cache_config_info")
                               .Help("1; the labels tell the shape of the KV cache.")
                               .Register(registry)),
      drafts_(AddVllmCounter(registry, model_name, "vllm:spec_decode_num_drafts_total",
                             "Runs of guessed tokens that were checked.")),
      draft_tokens_(AddVllmCounter(registry, model_name, "vllm:spec_decode_num_draft_tokens_total",
                                   "Guessed tokens that were checked.")),
      accepted_tokens_(AddVllmCounter(registry, model_name,
                                      "vllm:spec_decode_num_accepted_tokens_total",
                                      "Guessed tokens that proved right.")),
      accepted_at_(prometheus::BuildCounter()
                       .Name("vllm:spec_decode_num_accepted_tokens_per_pos_total")
                       .Help("Guessed tokens that proved right, by their place in the run.")
                       .Register(registry)) {
  AcceptedAt(0);  // there from the start, as the others
}

prometheus::Counter& VllmStepMetrics::AcceptedAt(size_t place) {
  return accepted_at_.Add(
      {{"model_name", model_name_}, {"engine", "0"}, {"position", std::to_string(place)}});
}

void VllmStepMetrics::SetDrafts(const DraftCounts& counts) {
  const auto grow = [](prometheus::Counter& counter, uint64_t now, uint64_t before) {
    counter.Increment(static_cast<double>(now - before));
  };
  grow(drafts_, counts.num_rows, last_drafts_.num_rows);
  grow(draft_tokens_, counts.num_tokens, last_drafts_.num_tokens);
  grow(accepted_tokens_, counts.num_accepted, last_drafts_.num_accepted);
  last_drafts_.accepted_at.resize(counts.accepted_at.size(), 0);
  for (size_t i = 0; i < counts.accepted_at.size(); ++i) {
    grow(AcceptedAt(i), counts.accepted_at[i], last_drafts_.accepted_at[i]);
  }
  last_drafts_ = counts;
}

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
