// The part of BatchBuilder that sees to it that every key has its share of the places; how claims
// are answered stands in batch_claims.cc.
#include <algorithm>
#include <cmath>

#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/prefill_policy.h"

namespace baton::scheduler {

uint32_t BatchBuilder::PlacesFor(const KeyAccount& key) const {
  return std::max(
      1u, static_cast<uint32_t>(std::floor(state_.waiting->ShareOf(key, limits_.max_running))));
}

bool BatchBuilder::IsWithinShare(const Sequence& sequence) const {
  if (state_.waiting->num_live_keys() == 1) return false;
  const KeyAccount& key = state_.waiting->KeyOf(sequence);
  if (key.num_places > PlacesFor(key)) return false;
  // Where steps are short, one that floods may have no more places for that reason alone.
  return limits_.short_seconds <= 0 || key.floods == Flooded::kNothing;
}

void BatchBuilder::SharePlaces() {
  const size_t num_candidates = state_.waiting->size() + state_.paused->size();
  if (num_candidates > 0 && state_.waiting->num_live_keys() > 1 && !BlocksAreOwed()) {
    AnswerClaims(AdmissionShare(num_candidates, limits_.max_running, limits_.num_free_steps));
  }
  num_newcomers_ = NumNewcomers();
  for (auto next = state_.paused->begin(); next != state_.paused->end();) {
    Sequence* const sequence = *next++;
    if (yielding_.contains(sequence)) continue;
    BetterOne better;
    do {
      better = BeginBetter(*sequence);
    } while (better == BetterOne::kBegan);
    const size_t num_running = state_.running->size();
    if (num_running >= limits_.max_running) return;
    if (better == BetterOne::kComes && num_running + NumKept() >= limits_.max_running) continue;
    Resume(sequence);
  }
}

size_t BatchBuilder::NumKept() const {
  // The step has no room for the next one, and nobody knows for how many more.
  return num_newcomers_ > 0 || limits_.num_free_steps == 1 ? 1 : state_.waiting->size();
}

Sequence* BatchBuilder::FindBetter(const Sequence& paused) const {
  if (state_.waiting->IsOverdue(paused)) return nullptr;
  Sequence* const next = state_.waiting->Front();
  const bool is_better = next != nullptr && next->priority() < paused.priority();
  return is_better && state_.may_begin(*next) ? next : nullptr;
}

BatchBuilder::BetterOne BatchBuilder::BeginBetter(const Sequence& paused) {
  if (state_.running->size() >= limits_.max_running) return BetterOne::kNone;
  Sequence* const next = FindBetter(paused);
  if (next == nullptr || collects_blocks()) return BetterOne::kNone;
  if (num_newcomers_ == 0 || !HasRoomFor(*next)) return BetterOne::kComes;
  const CachedPrefix prefix = MakeRoomFor(next);
  if (!FitsNow(*next, prefix, *state_.ledger, NumReserved(*next))) return BetterOne::kNone;
  Place(next, prefix);
  if (ahead_.has_value()) ahead_->Add(*next);
  --num_newcomers_;
  return BetterOne::kBegan;
}

void BatchBuilder::PromptsAhead::Add(const Sequence& sequence) {
  if (!sequence.runnable() || sequence.decoding()) return;
  if (sequence.num_told() == 0) told_bytes += sequence.told_bytes();
  work.Add(sequence.num_scheduled(), sequence.num_to_compute(), true, sequence.num_expanded());
}

const BatchBuilder::PromptsAhead& BatchBuilder::PromptsBefore(int32_t priority) {
  if (ahead_.has_value() && ahead_->priority == priority) return *ahead_;
  ahead_ = PromptsAhead{.priority = priority};
  for (const Sequence* sequence : *state_.running) {
    if (sequence->priority() > priority) break;  // the best class comes first
    ahead_->Add(*sequence);
  }
  return *ahead_;
}

bool BatchBuilder::HasRoomFor(const Sequence& newcomer) {
  const PromptsAhead& ahead = PromptsBefore(newcomer.priority());
  if (ahead.work.tokens == 0) return true;
  if (ahead.work.tokens >= limits_.max_tokens) return false;
  if (ahead.told_bytes > 0 && ahead.told_bytes + newcomer.told_bytes() > limits_.max_told_bytes) {
    return false;
  }
  return limits_.short_seconds <= 0 || state_.cost->Seconds(ahead.work) < limits_.short_seconds;
}

bool BatchBuilder::IsOwedBlocks(const Sequence& sequence) const {
  if (state_.waiting->num_live_keys() == 1 || !state_.waiting->IsOverdue(sequence)) return false;
  const KeyAccount& key = state_.waiting->KeyOf(sequence);
  const double num_tokens =
      static_cast<double>(state_.ledger->num_blocks()) * state_.ledger->block_tokens();
  return key.held_tokens <= state_.waiting->ShareOf(key, num_tokens);
}

bool BatchBuilder::BlocksAreOwed() {
  Sequence* const next = state_.waiting->Front();
  return next != nullptr && IsOwedBlocks(*next) &&
         !FitsWithSuspended(*next, state_.ledger->FindPrefix(next));
}

bool BatchBuilder::FreePlaceFor(const Sequence& claimant) {
  const std::optional<Sequence*> holder = FindPlaceFor(claimant);
  if (holder.has_value() && *holder != nullptr) Pause(*holder);
  return holder.has_value();
}

std::optional<Sequence*> BatchBuilder::FindPlaceFor(const Sequence& claimant) const {
  if (state_.running->size() < limits_.max_running) return nullptr;
  std::optional<Sequence*> latest;
  double most = 0;
  for (auto last = state_.running->rbegin(); last != state_.running->rend(); ++last) {
    if ((*last)->priority() < claimant.priority()) break;
    const KeyAccount& key = state_.waiting->KeyOf(**last);
    const double places = key.num_places / key.weight;
    if (key.num_places <= PlacesFor(key) || places <= most) continue;
    most = places;
    latest = *last;
  }
  return latest;
}

void BatchBuilder::Yield(Sequence* sequence) {
  if (sequence->num_steps_in_flight() > 0) {
    // No further step takes it; it gives its blocks when the last one is done.
    if (sequence->state() == Sequence::State::kRunning) Pause(sequence);
    yielding_.insert(sequence);
    return;
  }
  sequence->CountYield();
  Preempt(sequence);
  preempted_ = true;
}

void BatchBuilder::Pause(Sequence* sequence) {
  state_.running->erase(sequence);
  state_.paused->insert(sequence);
  sequence->set_state(Sequence::State::kPaused);
  state_.waiting->LeavePlace(sequence);
  ++*state_.num_pauses;
}

void BatchBuilder::Resume(Sequence* sequence) {
  state_.paused->erase(sequence);
  state_.running->insert(sequence);
  sequence->set_state(Sequence::State::kRunning);
  sequence->set_last_turn(step_id_);
  state_.waiting->TakePlace(sequence);
}

}  // namespace baton::scheduler
