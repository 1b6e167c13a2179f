#include "services/scheduler/core/decode_policy.h"

#include <algorithm>

#include "services/scheduler/core/finish_rule.h"

namespace baton::scheduler {
namespace {

// Part of a step by which it may be longer than an even one before it leaves sequences to the next.
constexpr double kSlack = 0.03;
// A price that is above what it may be by rounding alone is not above it.
constexpr double kWhole = 1 + 1e-9;

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

size_t DecodeShare(std::vector<Sequence*>* candidates, const RunningSet& running,
                   uint32_t num_steps, const StepCost& cost) {
  if (num_steps == 1 || candidates->empty()) return candidates->size();
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
  const auto seconds = [&price](const Sequence* sequence) {
    return price.row + price.position * static_cast<double>(sequence->num_tokens());
  };
  double excess =
      -(static_cast<double>(rows) * price.row + static_cast<double>(context) * price.position) /
      num_steps;
  for (const Sequence* sequence : *candidates) excess += seconds(sequence);
  if (excess <= kSlack * cost.Seconds(even_step)) return candidates->size();

  std::vector<Sequence*> taken;
  std::vector<Sequence*> left;
  for (auto last = candidates->rbegin(); last != candidates->rend(); ++last) {
    // Never shorter than even: the steps together have to hold all.
    const bool waits = seconds(*last) <= excess * kWhole;
    if (waits) excess -= seconds(*last);
    (waits ? left : taken).push_back(*last);
  }
  std::copy(left.rbegin(), left.rend(),
            std::copy(taken.rbegin(), taken.rend(), candidates->begin()));
  return taken.size();
}

Sequence* LastIdle(const RunningSet& sequences) {
  const auto last =
      std::find_if(sequences.rbegin(), sequences.rend(),
                   [](const Sequence* sequence) { return sequence->num_steps_in_flight() == 0; });
  return last == sequences.rend() ? nullptr : *last;
}

Sequence* PickVictim(const Holders& holders, const Sequence& needy) {
  for (const RunningSet* set : {&holders.suspended, &holders.paused}) {
    if (Sequence* const last = LastIdle(*set); last != nullptr) return last;
  }
  for (auto last = holders.running.rbegin(); last != holders.running.rend(); ++last) {
    if (!ServedBefore()(&needy, *last)) return nullptr;
    if ((*last)->num_steps_in_flight() == 0) return *last;
  }
  return nullptr;
}

}  // namespace baton::scheduler
