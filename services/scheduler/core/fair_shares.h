// How much service each fairness key has had, so that whoever has had least comes next; and who
// floods the group.
//
// This is deficit round robin on tokens with the smallest possible quantum: a key's deficit is how
// far it lies behind, and the key with the largest one is served. Over any time in which two keys
// both wait, what they get (divided by their weights) differs by no more than the costs of one
// sequence of each.
//
// A key FLOODS if it has more than one live sequence and, of anything that the group has to share
// out, more than would be its share (by weight) beside one key more, which may come:
//   places   its live sequences, running or waiting, against the places of those that run
//   blocks   what these hold and will need of the KV cache, what is found there aside
//   time     of the last second, what its rows had of the steps, and what its prompts that wait
//            will take; keys that have the same take turns at being a little above, so it begins to
//            flood with half as much again as its share. A key alone has all the time: it floods
//            only if its sequences would have as much beside one of another key, which two or three
//            would not
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/recent_use.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/service_rate.h"

namespace baton::scheduler {

struct ArrivedBefore {
  bool operator()(const Sequence* a, const Sequence* b) const {
    return a->arrival() < b->arrival();
  }
};

// Newcomers of one key and priority.
struct KeyLine {
  std::set<Sequence*, ArrivedBefore> sequences;
  Work work;
  double turn = 0;  // `served` of the key as its class last heard of it
};

// Of what a key has more than its share.
enum class Flooded { kNothing, kPlaces, kBlocks, kTime };
inline constexpr size_t kNumFloodable = 3;
inline constexpr std::array<const char*, kNumFloodable> kFloodableNames = {"places", "blocks",
                                                                           "time"};

// What a group has to share out, besides its time.
struct GroupCapacity {
  double num_places = 0;     // of sequences that run
  double num_tokens = 0;     // that the KV cache holds
  double block_tokens = 0;   // of a block
  double token_seconds = 0;  // what one more token of a prompt takes
};

struct KeyAccount {
  std::string name;
  double weight = 1;
  // Tokens charged so far divided by the weight. Never falls: what was charged too much is kept as
  // credit, for the next charge.
  double served = 0;
  double credit = 0;                 // tokens
  uint64_t activation = 0;           // grows with each time that a key begins to wait
  uint32_t num_live = 0;             // sequences that wait or run
  uint32_t num_suspended = 0;        // and suspended ones, which want nothing
  uint32_t num_places = 0;           // of num_live, those that hold a place among the running
  std::map<int32_t, KeyLine> lines;  // by priority; none is empty
  double waiting_tokens = 0;         // of these
  double backlog = 0;                // waiting_tokens / weight
  double live_tokens = 0;            // charged for live sequences that began
  double held_tokens = 0;            // of these: for those that hold blocks
  RecentUse time;
  Flooded floods = Flooded::kNothing;  // when FairShares::FindFloods looked last
};

// Keys that have nothing live are forgotten, at the latest when the others have caught up with
// them or kMaxIdleKeys are kept. Borrowed accounts stay valid while their key is live.
class FairShares final {
 public:
  static constexpr size_t kMaxIdleKeys = 1024;

  // The account of `name`; made if it is new.
  KeyAccount* Open(const std::string& name);
  // Null if nothing is known of `name`.
  const KeyAccount* Find(const std::string& name) const;

  // A sequence of the key, of the given weight, is live from now on.
  void Enter(KeyAccount* key, double weight);
  // It has ended.
  void Leave(KeyAccount* key);
  // It is suspended: it counts in no share until it goes on. Only then it may leave.
  void Suspend(KeyAccount* key);
  void Continue(KeyAccount* key);
  // The key gets its first newcomer: the time that it did not wait gives it no claim.
  void Activate(KeyAccount* key);
  // Nobody waits: whoever used what nobody wanted owes nothing.
  void ForgiveAll();
  // The key is served: nobody who comes later may claim what was served before.
  void Serve(const KeyAccount& key);
  void Charge(KeyAccount* key, double tokens);
  void Refund(KeyAccount* key, double tokens) { key->credit += tokens; }

  // What a key has that comes new.
  double floor() const { return floor_; }
  size_t num_keys() const { return keys_.size(); }
  // Keys that have sequences which wait or run, and the sum of their weights.
  size_t num_live_keys() const { return num_live_keys_; }
  // What `key`, which is live, floods; the first, in the order above.
  Flooded WhatFloods(const KeyAccount& key, const GroupCapacity& capacity, TimeUs now) const;
  // Sets `floods` of every live key. The first of what is flooded. Linear in the number of keys.
  Flooded FindFloods(const GroupCapacity& capacity, TimeUs now);
  double live_weight() const { return live_weight_; }

 private:
  void ForgetIdle();

  std::unordered_map<std::string, KeyAccount> keys_;
  std::set<std::pair<double, KeyAccount*>> idle_;  // by what they were served; above the floor
  double floor_ = 0;
  double most_served_ = 0;
  uint64_t num_activations_ = 0;
  size_t num_live_keys_ = 0;
  double live_weight_ = 0;  // whole numbers: their sum is exact
};

}  // namespace baton::scheduler
