// When the stages of a pipeline work on which step: each takes its steps in order, one at a time,
// as soon as it has the command, the hidden states of the stage before and every fed-back token.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/step_work.h"
#include "tools/simulate/stage_times.h"

namespace baton::simulate {

// Ways between the processes, in seconds.
struct WireTimes {
  double command = 100e-6;  // scheduler to a stage, with forming and encoding the step
  double report = 100e-6;   // a stage to the scheduler
  double hop = 30e-6;       // first byte from stage to stage
  // More for each token: 7,168 BF16 values, each rank over its own 400 Gbit/s.
  double hop_token = 7168 * 2 / 50e9;
  double feedback = 30e-6;  // a sampled token from the last stage to the first
};

// One step as it went.
struct StepTimes {
  scheduler::StepId id = 0;
  std::vector<double> compute;  // seconds, by stage
  std::vector<double> idle;     // seconds that the stage waited for it with work in the group
  double reached_last = 0;      // the scheduler knows that every stage but the last is done
  double reported = 0;          // and the last one too
};

class PipelineClock final {
 public:
  PipelineClock(StageTimes stages, WireTimes wires);

  // Orders a step at `now`; steps are sent in order, at times that never fall. `feedback`: the
  // latest earlier step whose tokens this one begins with; 0: none. `fresh`: the group had nothing
  // to do before, so that stage 0 waited for nobody.
  StepTimes Send(double now, scheduler::StepId id, const scheduler::StepWork& work,
                 scheduler::StepId feedback, bool fresh);
  // Steps count from 1 again, as after a loss; the stages are free at `now`.
  void Reset(double now);
  // Seconds that each stage has waited for the last to end all that was sent.
  std::vector<double> DrainIdle() const;
  uint32_t num_stages() const { return stages_.num_stages(); }

 private:
  const StageTimes stages_;
  const WireTimes wires_;
  std::vector<double> free_at_;  // by stage
  std::vector<double> sampled_;  // end of each step on the last stage, by step - 1
};

}  // namespace baton::simulate
