// The scheduler's core, as it is, against modelled stages on a virtual clock.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "services/scheduler/core/schedule.h"
#include "tools/simulate/pipeline_clock.h"
#include "tools/simulate/workload.h"

namespace baton::simulate {

// Work and waiting of the stages over steps of one kind, by stage.
struct StageUse {
  uint64_t num_steps = 0;
  uint64_t num_tokens = 0;
  std::vector<double> compute;  // seconds
  std::vector<double> idle;     // seconds without work while the group had some

  // Part of the time that the busiest stage waited.
  double Bubble() const;
  StageUse& operator+=(const StageUse& other);
};

struct SimulationResult {
  uint64_t num_requests = 0;
  uint64_t num_refused = 0;  // the queue was full, or they can never fit
  uint64_t input_tokens = 0;
  uint64_t output_tokens = 0;
  double seconds = 0;        // until the last token
  std::vector<double> ttft;  // seconds, of requests that were answered; sorted
  std::vector<double> tpot;  // of those with at least two tokens
  std::vector<double> e2e;
  StageUse decode;                 // steps that only generate
  StageUse prompt;                 // steps with parts of prompts
  std::vector<double> drain_idle;  // waiting for the last stage when all work was done, by stage
  uint64_t num_bursts = 0;         // times that the group began after it had nothing to do
  uint64_t num_preemptions = 0;
  scheduler::DraftCounts drafts;
  double mean_kv_used = 0;  // part of the blocks, by time
  double peak_kv_used = 0;

  StageUse All() const;
  // What filling and draining the pipeline costs at least: (P - 1) / (P - 1 + M) for a burst of M
  // steps through P stages.
  double IdealBubble() const;
};

struct SimulationOptions {
  scheduler::ScheduleOptions schedule;
  uint32_t num_blocks = 0;
  // Of a guess of the next token, if schedule.num_speculative_tokens asks for any.
  double acceptance = 0.85;
  StageTimes stages{1, 1.0};
  WireTimes wires;
};

// Serves `requests`, sorted by arrival, to the end.
SimulationResult Simulate(const SimulationOptions& options,
                          const std::vector<SimulatedRequest>& requests);

}  // namespace baton::simulate
