#include "services/scheduler/core/decode_policy.h"

#include <algorithm>

#include "services/scheduler/core/finish_rule.h"

namespace baton::scheduler {

std::vector<Sequence*> DecodeCandidates(const RunningSet& running, const FeedbackLimits& limits) {
  std::vector<Sequence*> decodes;
  for (Sequence* sequence : running) {
    const StepId step = sequence->feedback_step();
    const bool feeds_back =
        step > 0 && step <= limits.last_step && MayOutlastNextToken(*sequence, limits.max_len);
    if (feeds_back || (sequence->runnable() && sequence->decoding())) decodes.push_back(sequence);
  }
  std::stable_sort(decodes.begin(), decodes.end(), [](const Sequence* a, const Sequence* b) {
    return a->last_step() < b->last_step();
  });
  return decodes;
}

size_t DecodeShare(size_t num_running, uint32_t num_steps) {
  return (num_running + num_steps - 1) / num_steps;
}

Sequence* PickVictim(const RunningSet& running, const Sequence& needy) {
  for (auto last = running.rbegin(); last != running.rend(); ++last) {
    if (!ServedBefore()(&needy, *last)) return nullptr;
    if ((*last)->num_steps_in_flight() == 0) return *last;
  }
  return nullptr;
}

}  // namespace baton::scheduler
