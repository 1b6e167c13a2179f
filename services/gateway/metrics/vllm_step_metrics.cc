#include "services/gateway/metrics/vllm_step_metrics.h"

#include "absl/strings/str_cat.h"

namespace baton::gateway {
namespace {

// As vLLM's dashboards expect, and v1::StepTokenState counts.
const prometheus::Histogram::BucketBoundaries kIterationTokens = {
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
// Longer runs than any model's: what a faulty scheduler says makes no more series.
constexpr int kMostPlaces = 64;

}  // namespace

VllmStepMetrics::VllmStepMetrics(const std::shared_ptr<prometheus::Registry>& registry,
                                 const std::string& model_name)
    : registry_(registry),
      adder_(registry_, {{"model_name", model_name}, {"engine", "0"}}),
      iteration_tokens_(adder_.Histogram("vllm:iteration_tokens_total",
                                         "Tokens of prompt and answer that a step computes",
                                         kIterationTokens)),
      last_num_steps_(kIterationTokens.size() + 1),
      cache_config_family_(prometheus::BuildGauge()
                               .Name("vllm:cache_config_info")
                               .Help("1; the labels tell the shape of the KV cache")
                               .Register(*registry_)),
      drafts_(adder_.Counter("vllm:spec_decode_num_drafts_total",
                             "Runs of guessed tokens that were checked")),
      draft_tokens_(adder_.Counter("vllm:spec_decode_num_draft_tokens_total",
                                   "Guessed tokens that were checked")),
      accepted_tokens_(adder_.Counter("vllm:spec_decode_num_accepted_tokens_total",
                                      "Guessed tokens that proved right")) {
  AcceptedAt(0);
}

void VllmStepMetrics::SetGroupState(const v1::GroupState& state) {
  SetCacheShape(state.block_tokens(), state.num_total_blocks());
  FollowStepTokens(state.step_tokens());
  const v1::DraftState& drafts = state.drafts();
  drafts_.Follow(drafts.num_runs());
  draft_tokens_.Follow(drafts.num_tokens());
  accepted_tokens_.Follow(drafts.num_accepted());
  for (int i = 0; i < drafts.accepted_at_size() && i < kMostPlaces; ++i) {
    AcceptedAt(static_cast<size_t>(i)).Follow(drafts.accepted_at(i));
  }
}

void VllmStepMetrics::FollowStepTokens(const v1::StepTokenState& steps) {
  // Of another version: not counted.
  if (steps.num_steps_size() != static_cast<int>(last_num_steps_.size())) return;
  const bool again = steps.num_tokens() < last_num_tokens_;
  const std::vector<uint64_t> num_steps(steps.num_steps().begin(), steps.num_steps().end());
  std::vector<double> grown(num_steps.size());
  for (size_t i = 0; i < grown.size(); ++i) {
    const uint64_t before = again || num_steps[i] < last_num_steps_[i] ? 0 : last_num_steps_[i];
    grown[i] = static_cast<double>(num_steps[i] - before);
  }
  iteration_tokens_.ObserveMultiple(
      grown, static_cast<double>(steps.num_tokens() - (again ? 0 : last_num_tokens_)));
  last_num_steps_ = num_steps;
  last_num_tokens_ = steps.num_tokens();
}

void VllmStepMetrics::SetCacheShape(uint32_t block_tokens, uint32_t num_blocks) {
  if (block_tokens == 0 || num_blocks == 0) return;
  if (block_tokens == block_tokens_ && num_blocks == num_blocks_) return;
  if (cache_config_ != nullptr) cache_config_family_.Remove(cache_config_);
  block_tokens_ = block_tokens;
  num_blocks_ = num_blocks;
  cache_config_ = &cache_config_family_.Add({{"engine", "0"},
                                             {"block_size", absl::StrCat(block_tokens)},
                                             {"num_gpu_blocks", absl::StrCat(num_blocks)}});
  cache_config_->Set(1);
}

FollowingCounter& VllmStepMetrics::AcceptedAt(size_t place) {
  while (accepted_at_.size() <= place) {
    accepted_at_.emplace_back(
        adder_.Counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                       "Guessed tokens that proved right, by their place in the run",
                       {{"position", absl::StrCat(accepted_at_.size())}}));
  }
  return accepted_at_[place];
}

}  // namespace baton::gateway
