// Schedules and steps for the tests of the core: stages that answer at once.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {

inline ScheduleOptions MakeOptions() {
  ScheduleOptions options;
  options.max_model_len = 4096;
  options.vocab_size = 1024;
  options.eos_token_ids = {kEos};
  return options;
}

inline Schedule OpenSchedule(ScheduleOptions options, uint32_t num_blocks = kManyBlocks) {
  Schedule schedule(std::move(options));
  schedule.OpenEpoch(num_blocks);
  return schedule;
}

// Answers `batch` with `token` for every row that samples.
inline StepResult Answer(const Batch& batch, TokenId token = 7) {
  StepResult result{.step_id = batch.step_id};
  for (const BatchRow& row : batch.rows) {
    if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, token});
  }
  return result;
}

inline std::vector<SequenceNews> RunStep(Schedule* schedule, TokenId token = 7) {
  std::optional<Batch> batch = schedule->NextBatch();
  if (!batch.has_value()) return {};
  return schedule->Complete(Answer(*batch, token)).value();
}

}  // namespace baton::scheduler
