// Sequences that wait to run, in the order in which they are served:
//
//   class      the lowest priority number first; but a class that got no turn for `aging` while it
//              waited is next, the one that waits longest first: nobody starves
//   returned   within a class, those that ran before come before newcomers, by arrival
//   key        then the fairness key that was served least (fair_shares.h)
//   arrival    then the first that came
//
// It also keeps the accounts of those that run: how many places each key holds.
//
// Every operation takes time logarithmic in the number of sequences, unless it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/fair_shares.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/service_rate.h"

namespace baton::scheduler {

struct QueueLimits {
  size_t max_sequences = 1024;
  uint64_t max_tokens = UINT64_MAX;  // of all that wait, prompts and answers so far
  TimeUs aging = 10'000'000;         // a class waits no longer than this for a turn
};

// Holds borrowed sequences, which must outlive their stay; keys are charged for them until Leave.
// The bounds are for newcomers: a sequence that ran before always finds a place again.
class RequestQueue final {
 public:
  explicit RequestQueue(const QueueLimits& limits) : limits_(limits) {}

  size_t size() const { return num_sequences_; }
  bool empty() const { return num_sequences_ == 0; }
  // Tokens of prompt and answer so far of all that wait.
  uint64_t num_tokens() const { return num_tokens_; }
  size_t num_keys() const { return shares_.num_keys(); }
  // Keys with sequences that wait or run.
  size_t num_live_keys() const { return shares_.num_live_keys(); }
  const QueueLimits& limits() const { return limits_; }

  // The time from now on.
  void AdvanceTo(TimeUs now) { now_ = now; }

  // Whether a newcomer of so many tokens finds room.
  bool HasRoomFor(uint64_t num_tokens) const;
  // Newcomers whose leaving makes room for one of `key` with `work`: the latest of the key that
  // has most tokens waiting for its weight, if it has more than `key` even then, and none that is
  // served in a better class than `priority`. Empty: there are none.
  std::vector<Sequence*> WhoMakesRoom(const std::string& key, uint32_t weight, int32_t priority,
                                      const Work& work) const;
  // What is served before a newcomer of `key`: every better class, those that returned, and of each
  // key its share until `key` has had as much. Linear in the number of classes and keys.
  Work WorkAhead(const std::string& key, uint32_t weight, int32_t priority) const;
  // All that waits.
  const Work& work() const { return work_; }

  // Takes in a sequence that is to wait. `expected_answer`: tokens that it may still generate.
  void Push(Sequence* sequence, uint32_t expected_answer);
  // The one to be served next; null if none waits. Of some keys only: AdmittedOrder.
  Sequence* Front();
  // Whether `sequence`, which waits, in the queue or paused, has done so for longer than a class
  // may wait for a turn.
  bool IsOverdue(const Sequence& sequence) const {
    return now_ - tickets_.at(&sequence).waits_since >= limits_.aging;
  }
  // `sequence`, which is in the queue, begins to run, in a place. Its key is charged for what is to
  // be computed, which the first `num_cached` tokens are not; unless it was before.
  void Take(Sequence* sequence, uint32_t num_cached = 0);
  // `sequence`, which runs, gives up its place, and waits for one from now on; or has one again.
  void LeavePlace(Sequence* sequence);
  void TakePlace(Sequence* sequence);
  // `sequence`, which is not in the queue, gives up its place and counts in no share until it goes
  // on; then it has no place, or is pushed again.
  void Suspend(Sequence* sequence);
  void Continue(Sequence* sequence);
  // `sequence`, which is not in the queue, holds no blocks any more, and will not ask for them
  // before it is pushed again.
  void LoseBlocks(Sequence* sequence);
  double live_weight() const { return shares_.live_weight(); }
  // The part that a live key may have of `total`, by its weight against those of all live keys.
  double ShareOf(const KeyAccount& key, double total) const {
    return total * key.weight / shares_.live_weight();
  }
  // Which keys flood the group (fair_shares.h), as KeyAccount::floods says from then on; the first
  // of what they flood. Linear in the number of keys.
  Flooded FindFloods(const GroupCapacity& capacity) { return shares_.FindFloods(capacity, now_); }
  // Whether the key of `sequence`, which is live, does.
  bool Floods(const Sequence& sequence, const GroupCapacity& capacity) const {
    return shares_.WhatFloods(KeyOf(sequence), capacity, now_) != Flooded::kNothing;
  }
  // A step gives the rows of the key of `sequence`, which is live, so many seconds.
  void AddTime(const Sequence& sequence, double seconds) {
    tickets_.at(&sequence).key->time.Add(seconds, now_);
  }
  // The account of the key of `sequence`, which is live.
  const KeyAccount& KeyOf(const Sequence& sequence) const { return *tickets_.at(&sequence).key; }
  // Takes out one that is in the queue and does not run.
  void Remove(Sequence* sequence);
  // Charges the key of `sequence`, which runs, for the tokens that it has beyond what was expected.
  void ChargeGrowth(Sequence* sequence);
  // `sequence`, which is not in the queue any more, has ended: what its key was charged too much
  // is given back.
  void Leave(Sequence* sequence);

  // The first to arrive, of those that ran before, that `matches`; null if none does. Linear in
  // their number.
  Sequence* FindReturned(const std::function<bool(const Sequence*)>& matches) const;

 private:
  friend class AdmittedOrder;

  // By a number, the least first; then by activation. What was served may be out of date in a turn,
  // then it is less than the account's: Front corrects it.
  using Ranked = std::tuple<double, uint64_t, KeyAccount*>;
  struct Class {
    std::set<Sequence*, ArrivedBefore> returned;
    std::set<Ranked> turns;  // keys that have newcomers in the class, by what they were served
    Work work;
    Work returned_work;
    TimeUs waits_since = 0;  // its last turn, or the time since when it is not empty
  };
  // Of a sequence from Push to Leave.
  struct Ticket {
    KeyAccount* key = nullptr;
    double charged = 0;  // tokens; 0: it never ran
    double cached = 0;   // tokens that its key did not have to pay for
    bool has_place = false;
    bool is_suspended = false;
    bool holds_blocks = false;
    bool waits = false;
    bool returned = false;
    TimeUs waits_since = 0;
    Work work;  // while it waits; so below
    uint64_t num_tokens = 0;
  };
  using Classes = std::map<int32_t, Class>;

  Classes::iterator OpenClass(int32_t priority);
  Classes::const_iterator NextClass() const;
  void SetWaitsSince(Classes::iterator entry, TimeUs time);
  void AddToLine(Sequence* sequence, Ticket* ticket, Class* entry);
  void RemoveFromLine(Sequence* sequence, Ticket* ticket, Class* entry);
  void SetBacklog(KeyAccount* key, double waiting_tokens);
  static void SetPlace(Ticket* ticket, bool has_place);
  static void SetHoldsBlocks(Ticket* ticket, bool holds_blocks);

  const QueueLimits limits_;
  TimeUs now_ = 0;
  FairShares shares_;
  std::unordered_map<const Sequence*, Ticket> tickets_;
  Classes classes_;                             // none is empty
  std::set<std::pair<TimeUs, int32_t>> waits_;  // of the classes, with their priorities
  std::set<Ranked> backlogs_;                   // of the keys that have newcomers
  Work work_;
  uint64_t num_tokens_ = 0;
  size_t num_sequences_ = 0;
};

}  // namespace baton::scheduler
