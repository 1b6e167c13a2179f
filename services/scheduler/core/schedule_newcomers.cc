// The part of Schedule that sees to it that newcomers of keys that do not flood wait for little.
#include <algorithm>
#include <cmath>
#include <map>

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {
namespace {

// Where a full step is longer, steps are kept short while another key may come. They are short if
// they take no longer: what is lost between them, some hundred microseconds each, is little then.
constexpr double kLongStepSeconds = 0.005;
// But not if that is more than this part of what the first token of such a key takes alone: a
// newcomer waits for one of them, and then for its own.
constexpr double kMostWaitPart = 0.4375;
// And they are short in any case by this part of it.
constexpr double kWaitPart = 0.375;
// Or by as many times what every step pays anew, for the weights: with it, some rows cost little.
constexpr double kFixedParts = 1.25;

}  // namespace

GroupCapacity Schedule::Capacity() const {
  const double num_blocks = ledger_.has_value() ? ledger_->num_blocks() : UINT32_MAX;
  const double rest = cost_.learns() ? FullStepSeconds() - cost_.FixedSeconds() : 0;
  return {.num_places = static_cast<double>(options_.max_running),
          .num_tokens = num_blocks * options_.block_tokens,
          .block_tokens = static_cast<double>(options_.block_tokens),
          .token_seconds = rest / options_.max_step_tokens};
}

double Schedule::SecondsAlone(Sequence* sequence) const {
  uint64_t begin = 0;
  if (ledger_.has_value()) {
    begin = ledger_->FindPrefix(sequence).blocks.size() * uint64_t{options_.block_tokens};
  }
  const uint64_t num_tokens = sequence->num_tokens() - begin;
  uint64_t chunk = options_.max_step_tokens;
  if (options_.max_chunk_tokens > 0) chunk = std::min<uint64_t>(chunk, options_.max_chunk_tokens);
  StepWork work;
  work.AddChunks(begin, num_tokens, chunk, sequence->num_expanded());
  const auto num_steps = static_cast<double>((num_tokens + chunk - 1) / chunk);
  const double seconds = cost_.Seconds(work) + (num_steps - 1) * cost_.FixedSeconds();
  // The last chunk goes through the other stages, too.
  return seconds + static_cast<double>(cost_.stages().size() - 1) * seconds / num_steps;
}

void Schedule::NoteNewcomer(Sequence* sequence, TimeUs now) {
  const KeyAccount& key = waiting_.KeyOf(*sequence);
  // With more keys than places nobody can begin at once.
  if (waiting_.num_live_keys() == 1 || key.num_live > waiting_.ShareOf(key, options_.max_running) ||
      waiting_.Floods(*sequence, Capacity())) {
    return;
  }
  const uint64_t num_tokens = uint64_t{sequence->num_tokens()} + 1;
  newcomers_.Note(ledger_.has_value() ? ledger_->BlocksFor(num_tokens) : 0, SecondsAlone(sequence),
                  now);
}

void Schedule::LookForOthers(TimeUs now) {
  flooded_ = Flooded::kNothing;
  if (newcomers_.ExpectsOne(now) && cost_.learns() && FullStepSeconds() > kLongStepSeconds) {
    flooded_ = waiting_.FindFloods(Capacity());
  }
  if (others_may_come() && DecodesAreShort()) flooded_ = Flooded::kNothing;
}

bool Schedule::DecodesAreShort() const {
  if (!waiting_.empty() || !paused_.empty()) return false;
  StepWork decodes;
  for (const Sequence* sequence : running_) {
    if (sequence->num_to_compute() > 1) return false;
    decodes.Add(sequence->num_tokens(), 1, true, sequence->num_expanded());
  }
  return decodes.tokens == 0 || cost_.Seconds(decodes) <= ShortStepSeconds() / 2;
}

double Schedule::FullStepSeconds() const {
  return cost_.Seconds({.tokens = options_.max_step_tokens});
}

double Schedule::ShortStepSeconds() const {
  if (!others_may_come()) return 0;
  const double alone = newcomers_.seconds();
  return std::max({std::min(kLongStepSeconds, kMostWaitPart * alone),
                   kFixedParts * cost_.FixedSeconds(), kWaitPart * alone});
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
