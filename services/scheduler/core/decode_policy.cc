#include "services/scheduler/core/decode_policy.h"

#include <algorithm>

#include "services/scheduler/core/finish_rule.h"

namespace baton::scheduler {
namespace {

// Part of a step by which it may be longer than an even one before it leaves sequences to the next.
constexpr double kSlack = 0.03;
// Sums of floating-point prices that come this near to a share have reached it.
constexpr double kWhole = 1 - 1e-9;

}  // namespace

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

size_t DecodeShare(const std::vector<Sequence*>& candidates, const RunningSet& running,
                   uint32_t num_steps, const StepCost& cost) {
  if (num_steps == 1 || candidates.empty()) return candidates.size();
  // What decodes now or will once the step in flight with the end of its prompt is done.
  uint64_t rows = 0;
  uint64_t context = 0;
  for (const Sequence* sequence : running) {
    if (sequence->num_told() == 0 || sequence->num_to_compute() > 1) continue;
    ++rows;
    context += sequence->num_tokens();
  }
  const StepWork even_step{.tokens = (rows + num_steps - 1) / num_steps,
                           .decode_kv = context / num_steps,
                           .sampled = (rows + num_steps - 1) / num_steps};
  const StepCost::DecodePrice price = cost.PriceOfDecode(even_step);
  const double even =
      (static_cast<double>(rows) * price.row + static_cast<double>(context) * price.position) /
      num_steps;
  double sum = 0;
  size_t share = 0;
  for (const Sequence* sequence : candidates) {
    if (sum < even * kWhole) ++share;
    sum += price.row + price.position * static_cast<double>(sequence->num_tokens());
  }
  return sum <= even + kSlack * cost.Seconds(even_step) ? candidates.size() : share;
}

Sequence* PickVictim(const RunningSet& running, const Sequence& needy) {
  for (auto last = running.rbegin(); last != running.rend(); ++last) {
    if (!ServedBefore()(&needy, *last)) return nullptr;
    if ((*last)->num_steps_in_flight() == 0) return *last;
  }
  return nullptr;
}

}  // namespace baton::scheduler
