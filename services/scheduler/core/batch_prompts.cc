// The part of BatchBuilder that gives prompts what the decodes leave of a step: those that began,
// then newcomers.
#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "services/scheduler/core/admitted_order.h"
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

std::vector<PromptNeed> BatchBuilder::NeedsOf(const std::vector<Sequence*>& prompts) const {
  std::vector<PromptNeed> needs;
  for (const Sequence* sequence : prompts) {
    uint32_t num_tokens = sequence->num_to_compute();
    if (limits_.max_chunk > 0) num_tokens = std::min(num_tokens, limits_.max_chunk);
    needs.push_back({.key = &state_.waiting->KeyOf(*sequence),
                     .num_tokens = num_tokens,
                     .last_turn = sequence->last_turn(),
                     .least = LeastChunk(*sequence),
                     .num_computed = sequence->expands_next() ? sequence->num_scheduled() : 0});
  }
  return needs;
}

void BatchBuilder::AddPrompts(const std::vector<Sequence*>& prompts, bool can_wait) {
  const std::vector<PromptNeed> needs = NeedsOf(prompts);
  const uint32_t all = budget_;
  PromptBudget budget(needs, all, limits_.min_chunk);
  // Keys of which one is left out: none behind it goes before it.
  std::set<const KeyAccount*> closed;
  const auto add = [&](size_t i, uint32_t most, bool is_enough) {
    const KeyAccount* const key = needs[i].key;
    if (closed.contains(key)) return false;
    const uint32_t before = budget_;
    if (!is_enough || !AddChunk(prompts[i], most, can_wait)) {
      closed.insert(key);
      return false;
    }
    budget.Spend(key, before - budget_, step_id_);
    return true;
  };
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Those whose turn it is find the step with time for them.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return budget.RankOf(needs[a].key) < budget.RankOf(needs[b].key);
  });
  std::vector<size_t> left_out;
  for (const size_t i : order) {
    const uint32_t left = std::min(budget_, budget.LeftFor(needs[i].key));
    const bool has_all = left == all && IsLeftOutLong(*prompts[i]);
    const bool is_enough = left > 0 && (has_all || !IsTooShort(*prompts[i], left));
    if (!add(i, left, is_enough)) left_out.push_back(i);
  }
  // What was left over because chunks end where blocks do.
  closed.clear();
  std::stable_sort(left_out.begin(), left_out.end(), [&](size_t a, size_t b) {
    return budget.LastTurnOf(needs[a].key) < budget.LastTurnOf(needs[b].key);
  });
  for (const size_t i : left_out) {
    const bool is_enough = !IsTooShort(*prompts[i], budget_);
    if (!add(i, budget_, is_enough) && prompts[i]->num_told() == 0) {
      keys_to_begin_.insert({needs[i].key, prompts[i]->priority()});
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i]->set_last_turn(budget.LastTurnOf(needs[i].key));
  }
}

bool BatchBuilder::AddChunk(Sequence* sequence, uint32_t budget, bool can_wait) {
  const bool begins = sequence->num_told() == 0;
  if (full() || (can_wait && !HasTimeForChunk(*sequence)) || (begins && !CanTell(*sequence))) {
    prompts_wait_ = true;
    return false;
  }
  AddRow(sequence, NextChunk(*sequence, budget, can_wait),
         begins ? state_.ledger->Table(sequence->id()) : std::vector<BlockId>());
  return true;
}

uint32_t BatchBuilder::NumNewcomers() const {
  const size_t num_running = state_.running->size();
  const size_t num_places =
      limits_.max_running - std::min<size_t>(limits_.max_running, num_running);
  return AdmissionShare(state_.waiting->size(), num_places, limits_.num_free_steps);
}

void BatchBuilder::AddNewPrompts() {
  AdmittedOrder newcomers(*state_.waiting, [this](const KeyAccount& key, int32_t priority) {
    return !keys_to_begin_.contains({&key, priority});
  });
  uint32_t share = std::min(NumNewcomers(), num_newcomers_);
  for (; share > 0 && !full() && !long_enough(); --share) {
    Sequence* const next = newcomers.Front();
    if (next == nullptr) return;
    if (Begin(next)) continue;
    // What it lacks is for nobody behind it, unless that is tokens enough for a turn.
    if (next->state() != Sequence::State::kRunning || prompts_wait_) return;
    keys_to_begin_.insert({&state_.waiting->KeyOf(*next), next->priority()});
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
