#include "services/scheduler/pipeline/group_reporter.h"

namespace baton::scheduler {
namespace {

// Counts change with every step; watchers get them this often.
constexpr absl::Duration kCountsInterval = absl::Milliseconds(250);
constexpr absl::Duration kFar = absl::Hours(1);

}  // namespace

void GroupReporter::Report(const StageRegistry& registry, const Schedule& schedule, bool serving,
                           MonotonicTime now) {
  const ScheduleCounts counts = schedule.counts();
  held_back_ = counts != last_counts_;
  if (!changed_ && (!held_back_ || ElapsedSince(last_report_, now) < kCountsInterval)) return;
  v1::GroupState state;
  registry.FillState(&state);
  state.set_ready(serving && state.ready());
  state.set_num_running(counts.num_running);
  state.set_num_waiting(counts.num_waiting + counts.num_paused);
  state.set_num_waiting_tokens(counts.num_waiting_tokens);
  state.set_num_used_blocks(counts.num_used_blocks);
  state.set_num_total_blocks(counts.num_total_blocks);
  state.set_num_preemptions(counts.num_preemptions);
  state.set_num_prefix_query_tokens(counts.prefix_lookups.num_query_tokens);
  state.set_num_prefix_hit_tokens(counts.prefix_lookups.num_hit_tokens);
  state.set_num_evicted_blocks(counts.num_evicted_blocks);
  state.set_max_model_len(schedule.max_sequence_tokens());
  state.set_model_fingerprint(registry.plan(0).model_fingerprint());
  if (observer_ != nullptr) {
    observer_->OnCounts(counts, state.epoch(), state.ready());
    observer_->OnStepCost(schedule.cost());
  }
  watch_->Publish(std::move(state));
  changed_ = false;
  held_back_ = false;
  last_report_ = now;
  last_counts_ = counts;
}

MonotonicTime GroupReporter::next_due(MonotonicTime now) const {
  return held_back_ ? last_report_ + kCountsInterval : now + kFar;
}

}  // namespace baton::scheduler
