// Which running sequences generate a token in the next step, and who gives way when blocks run out.
#pragma once

#include <cstdint>
#include <vector>

#include "services/scheduler/core/running_set.h"
#include "services/scheduler/core/step_cost.h"

namespace baton::scheduler {

// Whose newest token is still being sampled may decode too, if that token is fed back.
struct FeedbackLimits {
  StepId last_step = 0;  // the newest step whose tokens may be fed back; 0: none
  uint32_t max_len = 0;  // tokens of prompt and answer together that a sequence may have
};

// Sequences that can decode now: those whose last step is longest ago first, then by order of
// service.
std::vector<Sequence*> DecodeCandidates(const RunningSet& running, const FeedbackLimits& limits);

// How many of `candidates` one step takes so that each of `num_steps` steps in flight gets an even
// share of what it costs to decode `running`, and no stage idles behind a step that is longer than
// the others. They come first then, the others behind, both in the order in which they were. A step
// that is long by little takes all: a sequence that changes its step waits for half a round. Of one
// that is too long the last ones wait, those of them that are not too much to leave out.
size_t DecodeShare(std::vector<Sequence*>* candidates, const RunningSet& running,
                   uint32_t num_steps, const StepCost& cost);

// The last that no step in flight touches; null if there is none.
Sequence* LastIdle(const RunningSet& sequences);

// Sequences that hold blocks.
struct Holders {
  const RunningSet& running;
  const RunningSet& paused;
  const RunningSet& suspended;
};

// The sequence that gives up its blocks so that `needy` can go on: the last of those that are
// suspended, else of those that are paused, else the one served last of those that run and are
// served after it; none that a step in flight touches. Null: `needy` has to wait. The first in
// order of service of those that run thus always goes on once no step is in flight.
Sequence* PickVictim(const Holders& holders, const Sequence& needy);

}  // namespace baton::scheduler
