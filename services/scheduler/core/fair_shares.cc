#include "services/scheduler/core/fair_shares.h"

#include <algorithm>

#include "common/log/check.h"

namespace baton::scheduler {
namespace {

// As many times its share of the time a key has when it begins to flood the group; until it has no
// more than its share.
constexpr double kTimeShares = 1.5;
// Beside one sequence of another key as many would have no more of the time than that.
constexpr uint32_t kFewSequences = 3;

}  // namespace

KeyAccount* FairShares::Open(const std::string& name) {
  const auto [entry, is_new] = keys_.try_emplace(name);
  KeyAccount* key = &entry->second;
  if (is_new) {
    key->name = name;
    key->served = floor_;
  }
  return key;
}

const KeyAccount* FairShares::Find(const std::string& name) const {
  const auto found = keys_.find(name);
  return found == keys_.end() ? nullptr : &found->second;
}

void FairShares::Enter(KeyAccount* key, double weight) {
  if (key->num_live++ == 0) {
    if (key->num_suspended == 0) idle_.erase({key->served, key});
    ++num_live_keys_;
  } else {
    live_weight_ -= key->weight;
  }
  key->weight = weight;
  live_weight_ += weight;
}

Flooded FairShares::WhatFloods(const KeyAccount& key, const GroupCapacity& capacity,
                               TimeUs now) const {
  if (key.num_live <= 1) return Flooded::kNothing;
  const double share = key.weight / (live_weight_ + 1);
  if (key.num_live > share * capacity.num_places) return Flooded::kPlaces;
  // The last block of a sequence is half full, more or less.
  const double tokens =
      key.live_tokens + key.waiting_tokens + key.num_live * capacity.block_tokens / 2;
  if (tokens > share * capacity.num_tokens) return Flooded::kBlocks;
  // Alone, it has all the time, for nobody else wants any.
  if (num_live_keys_ == 1 && key.num_live <= kFewSequences) return Flooded::kNothing;
  const double most = key.floods == Flooded::kTime ? share : kTimeShares * share;
  double prompt_tokens = 0;
  for (const auto& [priority, line] : key.lines) prompt_tokens += line.work.prompt_tokens;
  return key.time.At(now) + prompt_tokens * capacity.token_seconds > most ? Flooded::kTime
                                                                          : Flooded::kNothing;
}

Flooded FairShares::FindFloods(const GroupCapacity& capacity, TimeUs now) {
  Flooded first = Flooded::kNothing;
  for (auto& [name, key] : keys_) {
    if (key.num_live == 0) continue;
    key.floods = WhatFloods(key, capacity, now);
    if (key.floods == Flooded::kNothing) continue;
    first = first == Flooded::kNothing ? key.floods : std::min(first, key.floods);
  }
  return first;
}

void FairShares::Leave(KeyAccount* key) {
  BATON_CHECK(key->num_live > 0) << "key without live sequences";
  if (--key->num_live > 0) return;
  --num_live_keys_;
  live_weight_ -= key->weight;
  if (key->num_suspended > 0) return;
  idle_.insert({key->served, key});
  ForgetIdle();
}

void FairShares::Suspend(KeyAccount* key) {
  ++key->num_suspended;
  Leave(key);
}

void FairShares::Continue(KeyAccount* key) {
  BATON_CHECK(key->num_suspended > 0) << "key without suspended sequences";
  Enter(key, key->weight);
  --key->num_suspended;
}

void FairShares::Activate(KeyAccount* key) {
  key->served = std::max(key->served, floor_);
  key->activation = ++num_activations_;
}

void FairShares::ForgiveAll() {
  floor_ = most_served_;
  ForgetIdle();
}

void FairShares::Serve(const KeyAccount& key) {
  floor_ = std::max(floor_, key.served);
  ForgetIdle();
}

void FairShares::Charge(KeyAccount* key, double tokens) {
  const double by_credit = std::min(key->credit, tokens);
  key->credit -= by_credit;
  key->served += (tokens - by_credit) / key->weight;
  most_served_ = std::max(most_served_, key->served);
}

void FairShares::ForgetIdle() {
  while (!idle_.empty() && (idle_.begin()->first <= floor_ || idle_.size() > kMaxIdleKeys)) {
    KeyAccount* key = idle_.begin()->second;
    idle_.erase(idle_.begin());
    keys_.erase(std::string(key->name));
  }
}

}  // namespace baton::scheduler
