// What a seed draws for a random story: options of the scheduler, speeds of the stages, requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

#include "services/scheduler/core/schedule.h"
#include "tools/simulate/pipeline_clock.h"

namespace baton::scheduler {

class StoryDraws final {
 public:
  static constexpr TokenId kEos = 1;
  static constexpr uint32_t kBlockTokens = 8;
  // Sequences whose callers do not take their tokens, at a time.
  static constexpr size_t kMostSuspended = 4;

  explicit StoryDraws(uint64_t seed) : random_(seed) {}

  // 0 to `bound` - 1.
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  ScheduleOptions Options(uint32_t num_stages, uint32_t num_drafts);
  // DeepSeek-R1's, or stages of little parallelism, where a token costs most of a step.
  simulate::StageTimes Stages(uint32_t num_stages);
  // A prompt of at most `longest` tokens, of one of four families that begin alike.
  SequenceRequest Request(SequenceId id, uint32_t longest);
  // One of those of which there is always more: of one key, or of three keys and a class before all
  // others.
  SequenceRequest FloodRequest(SequenceId id, uint32_t longest, bool of_better_class);

 private:
  std::mt19937_64 random_;
};

}  // namespace baton::scheduler
