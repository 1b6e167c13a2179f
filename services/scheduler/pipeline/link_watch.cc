#include "services/scheduler/pipeline/link_watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace baton::scheduler {
namespace {

const char* NameOf(v1::AwaitedFrames frames) {
  switch (frames) {
    case v1::AWAITED_FRAMES_HIDDEN_STATES:
      return "hidden states of";
    case v1::AWAITED_FRAMES_TOKENS:
      return "tokens of";
    default:
      return "credit for";
  }
}

}  // namespace

void LinkWatch::Reset() {
  for (StageEnd& stage : stages_) stage = StageEnd();
}

void LinkWatch::Forgive(MonotonicTime now) {
  for (StageEnd& stage : stages_) {
    for (FinishedStep& step : stage.finished) step.time = now;
  }
}

void LinkWatch::Finished(uint32_t stage_index, StepId step_id, MonotonicTime now) {
  std::deque<FinishedStep>& finished = stages_[stage_index].finished;
  finished.push_back({step_id, now});
  while (finished.size() > 1 && ElapsedSince(finished[1].time, now) > limit_) finished.pop_front();
}

std::optional<uint32_t> LinkWatch::SenderOf(uint32_t stage_index, v1::AwaitedFrames frames) const {
  const auto last = static_cast<uint32_t>(stages_.size() - 1);
  if (last == 0) return std::nullopt;
  switch (frames) {
    case v1::AWAITED_FRAMES_HIDDEN_STATES:
      if (stage_index == 0) return std::nullopt;
      return stage_index - 1;
    case v1::AWAITED_FRAMES_TOKENS:
      if (stage_index != 0) return std::nullopt;
      return last;
    case v1::AWAITED_FRAMES_CREDIT:
      return stage_index == last ? 0 : stage_index + 1;
    default:
      return std::nullopt;
  }
}

std::optional<MonotonicTime> LinkWatch::SentAt(uint32_t stage_index, uint32_t sender,
                                               const v1::NeighbourWait& wait) const {
  const std::deque<FinishedStep>& finished = stages_[sender].finished;
  if (finished.empty()) return std::nullopt;
  if (wait.frames() == v1::AWAITED_FRAMES_CREDIT) {
    // There are slots for all steps in flight: with none of ours before it, the next stage has
    // given back every slot, and the first stage those of all tokens but of steps in flight, for
    // which there are twice as many (NumTokenSlots of the stage-worker).
    const std::deque<FinishedStep>& own = stages_[stage_index].finished;
    if (!own.empty() && finished.back().id < own.back().id) return std::nullopt;
    return finished.back().time;
  }
  const auto found = std::find_if(finished.begin(), finished.end(), [&](const FinishedStep& step) {
    return step.id >= wait.step_id();
  });
  if (found == finished.end()) return std::nullopt;
  return found->time;
}

std::optional<std::string> LinkWatch::Heard(uint32_t stage_index, const v1::Heartbeat& heartbeat,
                                            MonotonicTime now) {
  StageEnd& stage = stages_[stage_index];
  stage.told = heartbeat.step_id();
  stage.looked = now + -absl::Milliseconds(heartbeat.looked_ms());
  if (!heartbeat.has_wait()) return std::nullopt;
  const v1::NeighbourWait& wait = heartbeat.wait();
  const std::optional<uint32_t> sender = SenderOf(stage_index, wait.frames());
  if (!sender.has_value()) return std::nullopt;
  const std::optional<MonotonicTime> sent = SentAt(stage_index, *sender, wait);
  if (!sent.has_value()) return std::nullopt;
  const absl::Duration waited =
      std::min(absl::Milliseconds(wait.waited_ms()), ElapsedSince(*sent, now));
  if (waited <= limit_) return std::nullopt;
  // The sender has looked since, and lately.
  const StageEnd& other = stages_[*sender];
  const bool is_credit = wait.frames() == v1::AWAITED_FRAMES_CREDIT;
  if (!is_credit && other.told < wait.step_id()) return std::nullopt;
  if (ElapsedSince(other.looked, now) > 3 * limit_ / 4) return std::nullopt;
  return absl::StrFormat(
      "it has waited %.2f s for the %s step %d, which stage %d sent: the link "
      "from stage %d to stage %d is cut, or slower than --least-link-rate of stage-workers says",
      absl::ToDoubleSeconds(waited), NameOf(wait.frames()), wait.step_id(), *sender, *sender,
      stage_index);
}

}  // namespace baton::scheduler
