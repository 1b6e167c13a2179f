// The part of Schedule that only looks.
#include <algorithm>

#include "absl/strings/str_cat.h"

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
  counts.num_used_blocks = ledger_.has_value() ? ledger_->num_used() : 0;
  counts.num_total_blocks = ledger_.has_value() ? ledger_->num_blocks() : 0;
  counts.num_preemptions = num_preemptions_;
  counts.num_pauses = num_pauses_;
  counts.prefix_lookups = prefix_lookups_;
  counts.num_evicted_blocks =
      num_evicted_blocks_ + (ledger_.has_value() ? ledger_->num_evicted() : 0);
  counts.num_waiting_tokens = waiting_.num_tokens();
  counts.drain_time = rate_.TimeFor(waiting_.work());
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

absl::Status Schedule::CheckResult(const StepInFlight& step, const StepResult& result) const {
  if (result.step_id != step.id) {
    return absl::DataLossError(
        absl::StrCat("report of step ", result.step_id, " while step ", step.id, " is due"));
  }
  size_t next = 0;
  for (const StepRow& row : step.rows) {
    if (!row.sample) continue;
    const bool faulty =
        std::any_of(result.faults.begin(), result.faults.end(),
                    [&row](const StepResult::Fault& fault) { return fault.id == row.id; });
    const bool answered = next < result.tokens.size() && result.tokens[next].id == row.id;
    if (!answered && faulty) continue;
    if (!answered) {
      return absl::DataLossError(
          absl::StrCat("step ", step.id, " has no token for sequence ", row.id));
    }
    const StepResult::Sampled& sampled = result.tokens[next++];
    if (sampled.position != row.position) {
      return absl::DataLossError(absl::StrCat("step ", step.id, ": token at position ",
                                              sampled.position, " of sequence ", row.id,
                                              "; position ", row.position, " was to be sampled"));
    }
    if (sampled.token >= options_.vocab_size) {
      return absl::DataLossError(absl::StrCat("step ", step.id, ": token ", sampled.token,
                                              " is outside the vocabulary of ",
                                              options_.vocab_size));
    }
  }
  if (next == result.tokens.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("step ", step.id, " has a token of sequence ",
                                          result.tokens[next].id, " that it did not ask for"));
}

}  // namespace baton::scheduler
