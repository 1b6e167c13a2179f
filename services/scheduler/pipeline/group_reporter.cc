#include "services/scheduler/pipeline/group_reporter.h"

#include <algorithm>
#include <iterator>

namespace baton::scheduler {
namespace {

// Counts change with every step; watchers get them this often.
constexpr absl::Duration kCountsInterval = absl::Milliseconds(250);
constexpr absl::Duration kFar = absl::Hours(1);
// Of v1::StepTokenState.
constexpr uint32_t kStepTokenBounds[] = {1,   8,    16,   32,   64,   128,  256,
                                         512, 1024, 2048, 4096, 8192, 16384};

void FillDrafts(const DraftCounts& counts, v1::DraftState* drafts) {
  drafts->set_num_runs(counts.num_rows);
  drafts->set_num_tokens(counts.num_tokens);
  drafts->set_num_accepted(counts.num_accepted);
  for (const uint64_t accepted : counts.accepted_at) drafts->add_accepted_at(accepted);
}

}  // namespace

void GroupReporter::CountStep(uint32_t num_tokens) {
  const auto* const bound =
      std::lower_bound(std::begin(kStepTokenBounds), std::end(kStepTokenBounds), num_tokens);
  static_assert(std::tuple_size_v<decltype(num_steps_)> == std::size(kStepTokenBounds) + 1);
  ++num_steps_[static_cast<size_t>(bound - std::begin(kStepTokenBounds))];
  num_step_tokens_ += num_tokens;
  has_new_steps_ = true;
}

void GroupReporter::Report(const StageRegistry& registry, const Schedule& schedule, bool serving,
                           MonotonicTime now) {
  const ScheduleCounts counts = schedule.counts();
  held_back_ = has_new_steps_ || counts != last_counts_;
  if (!changed_ && (!held_back_ || ElapsedSince(last_report_, now) < kCountsInterval)) return;
  v1::GroupState state;
  registry.FillState(&state);
  state.set_ready(serving && state.ready());
  state.set_num_running(counts.num_running);
  state.set_num_waiting(counts.num_waiting + counts.num_paused);
  state.set_num_waiting_tokens(counts.num_waiting_tokens + counts.num_paused_tokens);
  state.set_num_used_blocks(counts.num_used_blocks);
  state.set_num_total_blocks(counts.num_total_blocks);
  state.set_num_preemptions(counts.num_preemptions);
  state.set_num_prefix_query_tokens(counts.prefix_lookups.num_query_tokens);
  state.set_num_prefix_hit_tokens(counts.prefix_lookups.num_hit_tokens);
  state.set_num_evicted_blocks(counts.num_evicted_blocks);
  state.set_block_tokens(schedule.block_tokens());
  FillDrafts(counts.drafts, state.mutable_drafts());
  state.mutable_step_tokens()->mutable_num_steps()->Add(num_steps_.begin(), num_steps_.end());
  state.mutable_step_tokens()->set_num_tokens(num_step_tokens_);
  state.set_max_model_len(schedule.max_sequence_tokens());
  state.set_model_fingerprint(registry.plan(0).model_fingerprint());
  if (observer_ != nullptr) {
    observer_->OnCounts(counts, state.epoch(), state.ready());
    observer_->OnStepCost(schedule.cost());
  }
  watch_->Publish(std::move(state));
  changed_ = false;
  held_back_ = false;
  has_new_steps_ = false;
  last_report_ = now;
  last_counts_ = counts;
}

MonotonicTime GroupReporter::next_due(MonotonicTime now) const {
  return held_back_ ? last_report_ + kCountsInterval : now + kFar;
}

}  // namespace baton::scheduler
