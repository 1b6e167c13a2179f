// The part of BatchBuilder that sees to it that every key has its share of the places.
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/prefill_policy.h"

namespace baton::scheduler {
namespace {

// A sequence gives up its blocks for other keys so often, and no more: it gets done.
constexpr uint32_t kMostYields = 2;

}  // namespace

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
  yielding_.clear();
  const size_t num_candidates = state_.waiting->size() + state_.paused->size();
  if (num_candidates > 0 && state_.waiting->num_live_keys() > 1 && !BlocksAreOwed()) {
    AnswerClaims(AdmissionShare(num_candidates, limits_.max_running, limits_.num_free_steps));
  }
  for (auto next = state_.paused->begin(); next != state_.paused->end();) {
    if (state_.running->size() >= limits_.max_running) return;
    Sequence* const sequence = *next++;
    if (!yielding_.contains(sequence)) Resume(sequence);
  }
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

void BatchBuilder::AnswerClaims(uint32_t most) {
  std::map<const KeyAccount*, uint64_t> begun;  // prompt tokens of those that run, to be computed
  for (const Sequence* sequence : *state_.running) {
    if (!sequence->runnable() || sequence->decoding()) continue;
    begun[&state_.waiting->KeyOf(*sequence)] += sequence->num_to_compute();
  }
  // What is not to be had for one class of a key may be for a better one.
  std::set<std::pair<const KeyAccount*, int32_t>> declined;
  const ClassFilter claims = [&](const KeyAccount& key, int32_t priority) {
    if (key.num_places >= PlacesFor(key) || declined.contains({&key, priority})) return false;
    // One that has enough to do for its part of the step does not need one more place yet.
    const auto found = begun.find(&key);
    return found == begun.end() ||
           static_cast<double>(found->second) < state_.waiting->ShareOf(key, limits_.max_tokens);
  };
  for (uint32_t num_answered = 0; num_answered < most;) {
    Sequence* const paused = FirstPaused(claims);
    Sequence* const next = paused != nullptr ? paused : state_.waiting->FrontOf(claims);
    if (next == nullptr) return;
    const KeyAccount* const key = &state_.waiting->KeyOf(*next);
    if (paused != nullptr ? ResumeClaim(next) : BeginClaim(next)) {
      if (!next->decoding()) begun[key] += next->num_to_compute();
      ++num_answered;
    } else {
      declined.insert({key, next->priority()});
    }
  }
}

Sequence* BatchBuilder::FirstPaused(const ClassFilter& admitted) const {
  const auto found =
      std::find_if(state_.paused->begin(), state_.paused->end(), [&](const Sequence* sequence) {
        return admitted(state_.waiting->KeyOf(*sequence), sequence->priority()) &&
               !yielding_.contains(sequence);
      });
  return found != state_.paused->end() ? *found : nullptr;
}

bool BatchBuilder::ResumeClaim(Sequence* sequence) {
  if (!FreePlaceFor(*sequence)) return false;
  Resume(sequence);
  return true;
}

bool BatchBuilder::BeginClaim(Sequence* sequence) {
  // Nobody gives up blocks for one that finds no place.
  if (!state_.may_begin(*sequence) || !FindPlaceFor(*sequence).has_value()) return false;
  CachedPrefix prefix = MakeRoomFor(sequence);
  const uint32_t num_reserved = NumReserved(*sequence);
  if (!FitsNow(*sequence, prefix, *state_.ledger, num_reserved)) {
    if (!TakeBlocksFor(*sequence, prefix)) return false;
    prefix = state_.ledger->FindPrefix(sequence);
    if (!FitsNow(*sequence, prefix, *state_.ledger, num_reserved)) return false;
  }
  if (!FreePlaceFor(*sequence)) return false;
  Place(sequence, prefix);
  return true;
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

bool BatchBuilder::TakeBlocksFor(const Sequence& claimant, const CachedPrefix& prefix) {
  struct Usage {
    double num_blocks = 0;
    const Sequence* first = nullptr;
  };
  std::map<const KeyAccount*, Usage> usages;
  RunningSet holders = *state_.running;
  holders.insert(state_.paused->begin(), state_.paused->end());
  for (const Sequence* sequence : holders) {
    Usage& usage = usages[&state_.waiting->KeyOf(*sequence)];
    usage.num_blocks += static_cast<double>(state_.ledger->Table(sequence->id()).size());
    if (usage.first == nullptr) usage.first = sequence;
  }
  const auto share = [this](const KeyAccount& key) {
    return state_.waiting->ShareOf(key, state_.ledger->num_blocks());
  };
  const KeyAccount& own = state_.waiting->KeyOf(claimant);
  const uint32_t num_wanted = state_.ledger->BlocksFor(uint64_t{claimant.num_tokens()} + 1);
  if (usages[&own].num_blocks + num_wanted > share(own)) return false;
  const uint64_t num_shared = prefix.blocks.size() - prefix.num_free;
  const uint64_t num_needed = num_wanted - num_shared + NumReserved(claimant);
  uint64_t num_found = state_.ledger->num_free();
  std::vector<Sequence*> leaving;
  const auto collect = [&](const RunningSet& from) {
    for (auto last = from.rbegin(); last != from.rend() && num_found < num_needed; ++last) {
      const KeyAccount& key = state_.waiting->KeyOf(**last);
      Usage& usage = usages[&key];
      if ((*last)->num_yields() >= kMostYields || *last == usage.first) continue;
      if (usage.num_blocks <= share(key)) continue;
      if ((*last)->priority() < claimant.priority()) continue;
      const std::vector<BlockId>& table = state_.ledger->Table((*last)->id());
      usage.num_blocks -= static_cast<double>(table.size());
      num_found +=
          static_cast<uint64_t>(std::count_if(table.begin(), table.end(), [this](BlockId block) {
            return state_.ledger->num_holders(block) == 1;
          }));
      leaving.push_back(*last);
    }
  };
  collect(*state_.paused);
  collect(*state_.running);
  if (num_found < num_needed) return false;
  for (Sequence* sequence : leaving) Yield(sequence);
  return true;
}

void BatchBuilder::Yield(Sequence* sequence) {
  if (sequence->num_steps_in_flight() > 0) {
    // No further step takes it; it gives its blocks when the last one is done.
    if (sequence->state() == Sequence::State::kRunning) Pause(sequence);
    yielding_.insert(sequence);
    return;
  }
  sequence->CountYield();
  state_.preempt(sequence);
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
  state_.waiting->TakePlace(sequence);
}

}  // namespace baton::scheduler
