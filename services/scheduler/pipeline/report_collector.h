// Puts together what the stages report of each step: a step is done when all of them have spoken.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// One step, reported by every stage.
struct CollectedStep {
  StepResult result;
  // By sequence and position of the token.
  std::map<std::pair<SequenceId, uint32_t>, v1::PositionLogprobs> logprobs;
  std::vector<v1::PromptLogprobs> prompt_logprobs;
};

class ReportCollector final {
 public:
  explicit ReportCollector(uint32_t num_stages) : last_step_(num_stages, 0) {}

  // A new epoch: steps count from 1 again.
  void Reset();
  // `step_id` was sent to every stage; steps are sent in order, by 1.
  void Sent(StepId step_id);
  // The step that `report` completes, if it does. Errors: DataLoss if it is not the next report of
  // this stage, or carries tokens without being the last stage's.
  absl::StatusOr<std::optional<CollectedStep>> Add(uint32_t stage_index, v1::StepReport report);
  // The newest step that every stage but the last has reported; with one stage, the last one sent.
  StepId last_at_last_stage() const;

 private:
  std::vector<StepId> last_step_;  // reported, by stage
  StepId last_sent_ = 0;
  StepId last_done_ = 0;
  std::deque<CollectedStep> open_;  // steps last_done_ + 1 .. last_sent_
};

}  // namespace baton::scheduler
