// The part of BatchBuilder that gives prompts what the decodes leave of a step: those that began,
// then newcomers.
#include <algorithm>
#include <utility>

#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/prefill_policy.h"
#include "services/scheduler/core/prompt_budget.h"

namespace baton::scheduler {

uint32_t BatchBuilder::NextChunk(const Sequence& sequence, uint32_t budget, bool can_wait) const {
  ChunkLimits limits{.budget = budget,
                     .max_chunk = limits_.max_chunk,
                     .min_chunk = limits_.min_chunk,
                     .seconds = limits_.max_seconds};
  if (can_wait && most_seconds_ > 0 && (limits.seconds <= 0 || limits.seconds > most_seconds_)) {
    limits.seconds = most_seconds_;
    limits.min_chunk = ShortChunk(sequence);
  }
  return ChunkTokens(sequence, limits, work_, *state_.cost);
}

void BatchBuilder::AddBegunPrompts() {
  const bool is_short = limits_.short_seconds > 0;
  part_tokens_ = budget_;
  const uint32_t others_part = std::min(budget_ / 2, limits_.min_chunk);  // beside those within
  std::vector<std::vector<Sequence*>> later;  // where steps are short: of each class, what can wait
  for (auto next = state_.running->begin(); next != state_.running->end();) {
    const int32_t priority = (*next)->priority();
    std::vector<Sequence*> within;  // of this class, of keys within their share of the places
    std::vector<Sequence*> over;    // the others
    for (; next != state_.running->end() && (*next)->priority() == priority; ++next) {
      if (!(*next)->runnable() || (*next)->decoding()) continue;
      (IsWithinShare(**next) ? within : over).push_back(*next);
    }
    if (is_short) {
      AddPrompts(within, false);
      later.push_back(std::move(over));
    } else if (within.empty()) {
      AddPrompts(over, true);
    } else {
      // Those within their share are not to wait for long steps of others: these, and newcomers,
      // have little of it.
      const uint32_t kept = over.empty() ? 0 : std::min({budget_, budget_ / 2, limits_.min_chunk});
      budget_ -= kept;
      AddPrompts(within, false);
      budget_ = over.empty() ? std::min(budget_, limits_.min_chunk) : kept;
      part_tokens_ = others_part;
      AddPrompts(over, true);
    }
  }
  if (is_short) budget_ = std::min(budget_, other_tokens_);
  if (is_short && urgent_.tokens > 0) part_tokens_ = others_part;
  for (const std::vector<Sequence*>& over : later) AddPrompts(over, true);
}

void BatchBuilder::AddPrompts(const std::vector<Sequence*>& prompts, bool can_wait) {
  std::vector<PromptNeed> needs;
  for (const Sequence* sequence : prompts) {
    uint32_t num_tokens = sequence->num_to_compute();
    if (limits_.max_chunk > 0) num_tokens = std::min(num_tokens, limits_.max_chunk);
    needs.push_back({.key = &state_.waiting->KeyOf(*sequence),
                     .num_tokens = num_tokens,
                     .last_step = sequence->last_step(),
                     .least = LeastChunk(*sequence),
                     .num_computed = sequence->expands_next() ? sequence->num_scheduled() : 0});
  }
  const uint32_t all = budget_;
  PromptBudget budget(needs, all, limits_.min_chunk);
  std::vector<Sequence*> left_out;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const uint32_t left = std::min(budget_, budget.LeftFor(needs[i].key));
    const bool has_all = left == all && IsLeftOutLong(*prompts[i]);
    if (left == 0 || (!has_all && IsTooShort(*prompts[i], left))) {
      left_out.push_back(prompts[i]);
      continue;
    }
    const uint32_t budget_before = budget_;
    AddChunk(prompts[i], left, can_wait);
    budget.Spend(needs[i].key, budget_before - budget_);
  }
  // What was left over because chunks end where blocks do.
  std::stable_sort(left_out.begin(), left_out.end(), [](const Sequence* a, const Sequence* b) {
    return a->last_step() < b->last_step();
  });
  for (Sequence* sequence : left_out) {
    if (!IsTooShort(*sequence, budget_)) AddChunk(sequence, budget_, can_wait);
  }
}

void BatchBuilder::AddChunk(Sequence* sequence, uint32_t budget, bool can_wait) {
  const bool begins = sequence->num_told() == 0;
  if (full() || (can_wait && !HasTimeForChunk(*sequence)) || (begins && !CanTell(*sequence))) {
    prompts_wait_ = true;
    return;
  }
  AddRow(sequence, NextChunk(*sequence, budget, can_wait),
         begins ? state_.ledger->Table(sequence->id()) : std::vector<BlockId>());
}

uint32_t BatchBuilder::NumNewcomers() const {
  const size_t num_running = state_.running->size();
  const size_t num_places =
      limits_.max_running - std::min<size_t>(limits_.max_running, num_running);
  return AdmissionShare(state_.waiting->size(), num_places, limits_.num_free_steps);
}

void BatchBuilder::AddNewPrompts() {
  uint32_t share = std::min(NumNewcomers(), num_newcomers_);
  for (; share > 0 && !full() && !long_enough(); --share) {
    if (!Begin(state_.waiting->Front())) return;
  }
}

bool BatchBuilder::Begin(Sequence* sequence) {
  if (!CanTell(*sequence) || !state_.may_begin(*sequence)) return false;
  const CachedPrefix prefix = MakeRoomFor(sequence);
  if (!FitsNow(*sequence, prefix, *state_.ledger, NumReserved(*sequence))) return false;
  Place(sequence, prefix);
  if (!IsTooShort(*sequence, budget_)) AddChunk(sequence, budget_, true);
  return sequence->num_told() > 0;
}

}  // namespace baton::scheduler
