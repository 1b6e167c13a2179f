#include "tools/simulate/pipeline_clock.h"

#include <algorithm>

#include "common/log/check.h"

namespace baton::simulate {

PipelineClock::PipelineClock(StageTimes stages, WireTimes wires)
    : stages_(std::move(stages)), wires_(wires), free_at_(stages_.num_stages(), 0) {}

void PipelineClock::Reset(double now) {
  std::fill(free_at_.begin(), free_at_.end(), now);
  sampled_.clear();
}

std::vector<double> PipelineClock::DrainIdle() const {
  std::vector<double> idle;
  for (const double free_at : free_at_) idle.push_back(free_at_.back() - free_at);
  return idle;
}

StepTimes PipelineClock::Send(double now, scheduler::StepId id, const scheduler::StepWork& work,
                              scheduler::StepId feedback, bool fresh) {
  BATON_CHECK(id == sampled_.size() + 1 && feedback < id) << "step " << id << " out of order";
  StepTimes step{.id = id, .reached_last = now};
  double input = now + wires_.command;
  if (feedback > 0) input = std::max(input, sampled_[feedback - 1] + wires_.feedback);
  for (uint32_t stage = 0; stage < num_stages(); ++stage) {
    // Before a fresh step the group had no work: what a stage waits from its sending on counts.
    const double since = fresh ? std::max(free_at_[stage], now) : free_at_[stage];
    const double begin = std::max({free_at_[stage], now + wires_.command, input});
    const double seconds = stages_.Seconds(stage, work);
    step.compute.push_back(seconds);
    step.idle.push_back(begin - since);
    free_at_[stage] = begin + seconds;
    if (stage + 1 < num_stages()) {
      step.reached_last = std::max(step.reached_last, free_at_[stage] + wires_.report);
    }
    step.reported = std::max(step.reached_last, free_at_[stage] + wires_.report);
    input = free_at_[stage] + wires_.hop + static_cast<double>(work.tokens) * wires_.hop_token;
  }
  sampled_.push_back(free_at_.back());
  return step;
}

}  // namespace baton::simulate
