// The part of BatchBuilder that answers claims of keys that have fewer than their share of the
// places. Whatever is found out on the way is kept for the next claim: in each step there may be as
// many claims as keys.
#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "services/scheduler/core/admitted_order.h"
#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/prefill_policy.h"

namespace baton::scheduler {
namespace {

// A sequence gives up its blocks for other keys so often, and no more: it gets done.
constexpr uint32_t kMostYields = 2;

}  // namespace

// The blocks of those that run or are paused.
struct BatchBuilder::BlockUsage {
  struct OfKey {
    double num_blocks = 0;
    const Sequence* first = nullptr;  // in order of service
  };
  std::unordered_map<const KeyAccount*, OfKey> keys;
  // What a claimant of a class, by its priority, could have at most from those that may yield.
  std::map<int32_t, uint64_t> most;
};

// What is known while the claims of one step are answered.
struct BatchBuilder::ClaimRound {
  std::unordered_map<const KeyAccount*, uint64_t> begun;  // prompt tokens that run, to be computed
  // What is not to be had for one class of a key may be for a better one.
  std::set<std::pair<const KeyAccount*, int32_t>> declined;
  // The rest until somebody gives up blocks for a claim: from then on others may claim.
  std::optional<AdmittedOrder> waiting;
  Sequence* last_paused = nullptr;   // up to it, none claims
  std::optional<int32_t> placeless;  // from this class on, none finds a place
  // And these until a claim is answered: the place for a class, and who holds how many blocks.
  std::optional<std::pair<int32_t, std::optional<Sequence*>>> place;
  std::optional<BlockUsage> usage;

  void ForgetAnswer() {
    place.reset();
    usage.reset();
  }
  void ForgetYield() {
    ForgetAnswer();
    waiting.reset();
    last_paused = nullptr;
    placeless.reset();
  }
};

void BatchBuilder::AnswerClaims(uint32_t most) {
  ClaimRound round;
  for (const Sequence* sequence : *state_.running) {
    if (!sequence->runnable() || sequence->decoding()) continue;
    round.begun[&state_.waiting->KeyOf(*sequence)] += sequence->num_to_compute();
  }
  const ClassFilter claims = [&](const KeyAccount& key, int32_t priority) {
    if (key.num_places >= PlacesFor(key) || round.declined.contains({&key, priority})) return false;
    // One that has enough to do for its part of the step does not need one more place yet.
    const auto found = round.begun.find(&key);
    return found == round.begun.end() ||
           static_cast<double>(found->second) < state_.waiting->ShareOf(key, limits_.max_tokens);
  };
  for (uint32_t num_answered = 0; num_answered < most;) {
    if (!round.waiting.has_value()) round.waiting.emplace(*state_.waiting, claims);
    if (round.placeless.has_value()) round.waiting->CloseFrom(*round.placeless);
    Sequence* const paused = FirstPaused(claims, &round);
    Sequence* next = paused;
    if (paused == nullptr || !state_.waiting->IsOverdue(*paused)) {
      Sequence* const first = round.waiting->Front();
      const bool is_better =
          first != nullptr && paused != nullptr && first->priority() < paused->priority();
      if (paused == nullptr || is_better) next = first;
    }
    if (next == nullptr) return;
    const KeyAccount* const key = &state_.waiting->KeyOf(*next);
    if (next == paused ? ResumeClaim(next) : BeginClaim(next, &round)) {
      if (!next->decoding()) round.begun[key] += next->num_to_compute();
      ++num_answered;
      round.ForgetAnswer();
    } else {
      round.declined.insert({key, next->priority()});
      if (!PlaceFor(*next, &round).has_value()) round.placeless = next->priority();
    }
  }
}

Sequence* BatchBuilder::FirstPaused(const ClassFilter& admitted, ClaimRound* round) const {
  auto next = state_.paused->begin();
  if (round->last_paused != nullptr) {
    next = state_.paused->upper_bound(round->last_paused);
  }
  for (; next != state_.paused->end(); ++next) {
    const int32_t priority = (*next)->priority();
    if (round->placeless.has_value() && priority >= *round->placeless) return nullptr;
    if (admitted(state_.waiting->KeyOf(**next), priority) && !yielding_.contains(*next)) {
      return *next;
    }
    round->last_paused = *next;
  }
  return nullptr;
}

std::optional<Sequence*> BatchBuilder::PlaceFor(const Sequence& claimant, ClaimRound* round) const {
  const int32_t priority = claimant.priority();
  if (!round->place.has_value() || round->place->first != priority) {
    round->place.emplace(priority, FindPlaceFor(claimant));
  }
  return round->place->second;
}

bool BatchBuilder::ResumeClaim(Sequence* sequence) {
  if (!FreePlaceFor(*sequence)) return false;
  Resume(sequence);
  return true;
}

bool BatchBuilder::BeginClaim(Sequence* sequence, ClaimRound* round) {
  // Nobody gives up blocks for one that finds no place.
  if (!state_.may_begin(*sequence) || !PlaceFor(*sequence, round).has_value()) return false;
  const size_t num_suspended = state_.suspended->size();
  CachedPrefix prefix = MakeRoomFor(sequence);
  if (state_.suspended->size() != num_suspended) round->usage.reset();
  const uint32_t num_reserved = NumReserved(*sequence);
  if (!FitsNow(*sequence, prefix, *state_.ledger, num_reserved)) {
    if (!TakeBlocksFor(*sequence, prefix, round)) return false;
    prefix = state_.ledger->FindPrefix(sequence);
    if (!FitsNow(*sequence, prefix, *state_.ledger, num_reserved)) return false;
  }
  if (!FreePlaceFor(*sequence)) return false;
  Place(sequence, prefix);
  return true;
}

const BatchBuilder::BlockUsage& BatchBuilder::UsageOf(ClaimRound* round) const {
  if (round->usage.has_value()) return *round->usage;
  BlockUsage& usage = round->usage.emplace();
  for (const RunningSet* holders : {state_.running, state_.paused}) {
    for (const Sequence* sequence : *holders) {
      BlockUsage::OfKey& own = usage.keys[&state_.waiting->KeyOf(*sequence)];
      own.num_blocks += static_cast<double>(state_.ledger->Table(sequence->id()).size());
      if (own.first == nullptr || ServedBefore()(sequence, own.first)) own.first = sequence;
    }
  }
  return usage;
}

bool BatchBuilder::TakeBlocksFor(const Sequence& claimant, const CachedPrefix& prefix,
                                 ClaimRound* round) {
  const auto share = [this](const KeyAccount& key) {
    return state_.waiting->ShareOf(key, state_.ledger->num_blocks());
  };
  const KeyAccount& own = state_.waiting->KeyOf(claimant);
  const uint32_t num_wanted = state_.ledger->BlocksFor(uint64_t{claimant.num_tokens()} + 1);
  if (num_wanted > share(own)) return false;
  const BlockUsage& usage = UsageOf(round);
  const auto held = usage.keys.find(&own);
  if (held != usage.keys.end() && held->second.num_blocks + num_wanted > share(own)) return false;
  const uint64_t num_needed =
      BlocksNeeded(claimant, prefix, *state_.ledger) + NumReserved(claimant);
  const uint64_t num_free = state_.ledger->num_free();
  const auto known = usage.most.find(claimant.priority());
  if (known != usage.most.end() && num_free + known->second < num_needed) return false;
  const std::set<BlockId> shared(prefix.blocks.begin(), prefix.blocks.end());
  uint64_t num_shared = 0;
  uint64_t num_found = num_free;
  auto keys = usage.keys;
  std::vector<Sequence*> leaving;
  const auto collect = [&](const RunningSet& from) {
    for (auto last = from.rbegin(); last != from.rend() && num_found < num_needed; ++last) {
      const KeyAccount& key = state_.waiting->KeyOf(**last);
      BlockUsage::OfKey& of_key = keys.at(&key);
      if ((*last)->num_yields() >= kMostYields || *last == of_key.first) continue;
      if (of_key.num_blocks <= share(key)) continue;
      if ((*last)->priority() < claimant.priority()) continue;
      const std::vector<BlockId>& table = state_.ledger->Table((*last)->id());
      const uint64_t found_before = num_found;
      for (const BlockId block : table) {
        if (state_.ledger->num_holders(block) > 1) continue;
        ++(shared.contains(block) ? num_shared : num_found);
      }
      if (num_found == found_before) continue;
      of_key.num_blocks -= static_cast<double>(table.size());
      leaving.push_back(*last);
    }
  };
  collect(*state_.paused);
  collect(*state_.running);
  if (num_found < num_needed) {
    round->usage->most[claimant.priority()] = num_found + num_shared - num_free;
    return false;
  }
  for (Sequence* sequence : leaving) Yield(sequence);
  round->ForgetYield();
  return true;
}

}  // namespace baton::scheduler
