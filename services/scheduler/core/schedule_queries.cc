// The part of Schedule that only looks.
#include <algorithm>

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

uint32_t Schedule::max_sequence_tokens() const {
  if (!ledger_.has_value()) return options_.max_model_len;
  return static_cast<uint32_t>(
      std::min<uint64_t>(options_.max_model_len, ledger_->capacity_tokens()));
}

ScheduleCounts Schedule::counts() const {
  ScheduleCounts counts;
  counts.num_running = static_cast<uint32_t>(running_.size());
  counts.num_waiting = static_cast<uint32_t>(waiting_.size());
  counts.num_paused = static_cast<uint32_t>(paused_.size());
  counts.num_suspended = num_suspended_;
  counts.num_used_blocks = ledger_.has_value() ? ledger_->num_used() : 0;
  counts.num_total_blocks = ledger_.has_value() ? ledger_->num_blocks() : 0;
  counts.num_preemptions = num_preemptions_;
  counts.num_pauses = num_pauses_;
  counts.num_suspensions = num_suspensions_;
  counts.prefix_lookups = prefix_lookups_;
  counts.num_evicted_blocks =
      num_evicted_blocks_ + (ledger_.has_value() ? ledger_->num_evicted() : 0);
  counts.num_waiting_tokens = waiting_.num_tokens();
  for (const Sequence* sequence : paused_) counts.num_paused_tokens += sequence->num_tokens();
  counts.short_step_seconds = ShortStepSeconds();
  counts.num_short_steps = num_short_steps_;
  counts.drain_time = rate_.TimeFor(waiting_.work());
  counts.drafts = draft_counts_;
  return counts;
}

const Sequence* Schedule::Find(SequenceId id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return nullptr;
  return found->second->state() == Sequence::State::kEnding ? nullptr : found->second.get();
}

std::vector<SequenceId> Schedule::LiveIds() const {
  std::vector<SequenceId> ids;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->state() != Sequence::State::kEnding) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace baton::scheduler
