// The part of Schedule that sees to it that newcomers of keys that do not flood wait for little.
#include <algorithm>
#include <cmath>
#include <map>

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {
namespace {

// Where a full step is longer, steps are kept short and are not ordered ahead while another key may
// come: what is lost between them, some hundred microseconds each, is little against them.
constexpr double kLongStepSeconds = 0.005;
// They are short if they take no longer, or if what every step pays anew (for the weights) is half
// of them.
constexpr double kShortParts = 2;

}  // namespace

GroupCapacity Schedule::Capacity() const {
  const double num_blocks = ledger_.has_value() ? ledger_->num_blocks() : UINT32_MAX;
  return {.num_places = static_cast<double>(options_.max_running),
          .num_tokens = num_blocks * options_.block_tokens,
          .block_tokens = static_cast<double>(options_.block_tokens)};
}

void Schedule::NoteNewcomer(const Sequence& sequence, TimeUs now) {
  const KeyAccount& key = waiting_.KeyOf(sequence);
  // With more keys than places nobody can begin at once.
  if (waiting_.num_live_keys() == 1 || key.num_live > waiting_.ShareOf(key, options_.max_running) ||
      waiting_.Floods(sequence, Capacity())) {
    return;
  }
  const uint64_t num_tokens = uint64_t{sequence.num_tokens()} + 1;
  newcomers_.Note(ledger_.has_value() ? ledger_->BlocksFor(num_tokens) : 0, now);
}

void Schedule::LookForOthers(TimeUs now) {
  others_may_come_ = newcomers_.ExpectsOne(now) && cost_.learns() &&
                     waiting_.FindFloods(Capacity()) != Flooded::kNothing &&
                     cost_.Seconds({.tokens = options_.max_step_tokens}) > kLongStepSeconds;
}

double Schedule::ShortStepSeconds() const {
  if (!others_may_come_) return 0;
  return std::max(kLongStepSeconds, kShortParts * cost_.FixedSeconds());
}

uint32_t Schedule::NewcomerBlocks() const {
  // No more than the share of one key more.
  const double share = ledger_->num_blocks() / (waiting_.live_weight() + 1);
  return static_cast<uint32_t>(std::min(std::ceil(newcomers_.num_blocks()), share));
}

void Schedule::AddTimes(const Batch& batch, const StepWork& all) {
  if (!cost_.learns() || batch.rows.empty()) return;
  const double seconds = cost_.Seconds(all);
  const Sequence& first = *sequences_.at(batch.rows.front().id);
  if (waiting_.num_live_keys() == 1) return waiting_.AddTime(first, seconds);
  struct KeyWork {
    const Sequence* sequence = nullptr;  // one of the key's
    StepWork work;
  };
  std::map<const KeyAccount*, KeyWork> keys;
  for (const BatchRow& row : batch.rows) {
    const Sequence* const sequence = sequences_.at(row.id).get();
    KeyWork& key = keys[&waiting_.KeyOf(*sequence)];
    key.sequence = sequence;
    AddWork(row, &key.work);
  }
  double sum = 0;
  for (const auto& [account, key] : keys) sum += cost_.Seconds(key.work);
  for (const auto& [account, key] : keys) {
    waiting_.AddTime(*key.sequence, seconds * cost_.Seconds(key.work) / sum);
  }
}

bool Schedule::FirstStageIsFree() const {
  const uint32_t num_stages = options_.max_steps_in_flight;
  if (num_stages == 1) return steps_.empty();
  const auto in_front = std::count_if(steps_.begin(), steps_.end(), [this](const auto& step) {
    return step.id > last_stage_step_;
  });
  return in_front < num_stages - 1;
}

}  // namespace baton::scheduler
