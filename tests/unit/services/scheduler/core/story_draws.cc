#include "tests/unit/services/scheduler/core/story_draws.h"

#include <algorithm>
#include <vector>

#include "tests/unit/services/scheduler/core/stage_memory.h"

namespace baton::scheduler {

ScheduleOptions StoryDraws::Options(uint32_t num_stages, uint32_t num_drafts) {
  ScheduleOptions options;
  options.block_tokens = kBlockTokens;
  options.max_step_tokens = 4 + Below(200);
  options.max_running = 1 + Below(16);
  options.max_waiting = 2 + Below(40);
  options.max_steps_in_flight = num_stages + Below(2);
  options.lookahead_steps = Below(2);
  options.num_speculative_tokens = num_drafts;
  options.max_chunk_tokens = Below(2) == 0 ? 0 : 1 + Below(64);
  options.max_step_seconds = Below(2) == 0 ? 0 : 0.001 * (1 + Below(100));
  options.max_model_len = 20 + Below(150);
  options.max_wait = Below(3) == 0 ? 1000 * (1 + Below(5000)) : kNever;
  options.max_waiting_tokens = Below(3) == 0 ? 50 + Below(2000) : UINT64_MAX;
  options.priority_aging = 1000 * (1 + Below(100));
  options.prefix_caching = Below(3) > 0;
  options.watermark = Below(2) == 0 ? 0 : 0.01 * Below(20);
  options.vocab_size = StageMemory::kVocabSize;
  options.eos_token_ids = {kEos};
  if (Below(3) > 0) {
    options.step_cost.expert_share = 1.0 / 32;
    const CostTerms prior{.values = {1e-3, 9e-3, 3e-6, 8e-9, 9e-8, 4e-10, 1e-7, 1.4e-9}};
    options.step_cost.prior.assign(num_stages, prior);
  }
  return options;
}

simulate::StageTimes StoryDraws::Stages(uint32_t num_stages) {
  const double efficiency = 0.1 + 0.01 * Below(90);
  if (Below(2) == 0) return {num_stages, efficiency};
  const CostTerms prices{.values = {1e-3, 0.5e-3, 0.3e-3, 1e-6, 1e-7, 5e-9, 0.4e-3}};
  const std::vector<CostTerms> stages(num_stages, prices);
  return {StepCostOptions{.prior = stages, .expert_share = 0.25}, efficiency};
}

SequenceRequest StoryDraws::Request(SequenceId id, uint32_t longest) {
  SequenceRequest request;
  request.id = id;
  const uint32_t length = 1 + Below(Below(4) == 0 ? longest : std::min(longest, 24u));
  const uint32_t family = Below(4);  // prompts of a family begin alike
  for (uint32_t i = 0; i < length; ++i) {
    request.prompt.push_back(i < 20 ? 2 + family * 50 + i : 2 + Below(500));
  }
  request.stop.max_tokens = 1 + Below(40);
  request.reads_cache = Below(5) > 0;
  return request;
}

SequenceRequest StoryDraws::FloodRequest(SequenceId id, uint32_t longest, bool of_better_class) {
  SequenceRequest request = Request(id, longest);
  request.fairness_key = "flood";
  if (of_better_class) {
    request.fairness_key += static_cast<char>('a' + Below(3));
    request.priority = -2;
  }
  return request;
}

}  // namespace baton::scheduler
