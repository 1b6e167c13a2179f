#include "services/scheduler/pipeline/progress_watch.h"

namespace baton::scheduler {

void ProgressWatch::Reset() {
  for (StageProgress& stage : stages_) stage = StageProgress();
  held_.clear();
}

void ProgressWatch::Sent(StepId step_id, StepId feedback_step, MonotonicTime now) {
  held_.push_back({step_id, feedback_step});
  OfferHeld(now);
}

void ProgressWatch::OfferHeld(MonotonicTime now) {
  for (; !held_.empty() && held_.front().feedback_step <= stages_.back().done; held_.pop_front()) {
    Offer(0, held_.front().id, now);
  }
}

void ProgressWatch::Finished(uint32_t stage_index, StepId step_id, MonotonicTime now) {
  stages_[stage_index].done = step_id;
  stages_[stage_index].since = now;
  if (stage_index + 1 < stages_.size()) Offer(stage_index + 1, step_id, now);
  OfferHeld(now);
}

void ProgressWatch::Offer(uint32_t stage_index, StepId step_id, MonotonicTime now) {
  StageProgress& stage = stages_[stage_index];
  if (stage.done >= stage.ahead) stage.since = now;
  stage.ahead = step_id;
}

void ProgressWatch::Forgive(MonotonicTime now) {
  for (StageProgress& stage : stages_) stage.since = now;
}

std::optional<uint32_t> ProgressWatch::Stalled(MonotonicTime now) const {
  for (uint32_t index = 0; index < stages_.size(); ++index) {
    const StageProgress& stage = stages_[index];
    if (stage.done < stage.ahead && ElapsedSince(stage.since, now) > timeout_) return index;
  }
  return std::nullopt;
}

}  // namespace baton::scheduler
