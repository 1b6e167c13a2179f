#include "services/scheduler/core/prompt_budget.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace baton::scheduler {
namespace {

struct KeyNeed {
  const KeyAccount* key;
  uint64_t num_tokens;  // that its prompts need and were not given
  StepId last_turn;
  uint32_t num_computed;
  uint32_t least = 0;
  uint64_t turn = 0;  // tokens that are one
  uint32_t given = 0;
  bool has_turn = false;
};

// Keys in the order in which their turn comes; those of equal turns as they are in `needs`.
std::vector<KeyNeed> InTurn(const std::vector<PromptNeed>& needs, uint32_t least) {
  std::vector<KeyNeed> keys;
  std::map<const KeyAccount*, size_t> indices;
  for (const PromptNeed& need : needs) {
    const auto [entry, is_new] = indices.try_emplace(need.key, keys.size());
    if (is_new) keys.push_back({need.key, 0, need.last_turn, need.num_computed});
    KeyNeed& key = keys[entry->second];
    key.num_tokens += need.num_tokens;
    key.last_turn = std::min(key.last_turn, need.last_turn);
    key.least = std::max(key.least, need.least);
  }
  std::stable_sort(keys.begin(), keys.end(), [](const KeyNeed& a, const KeyNeed& b) {
    return std::pair(a.last_turn, a.num_computed) < std::pair(b.last_turn, b.num_computed);
  });
  if (keys.empty()) return keys;
  std::stable_partition(keys.begin() + 1, keys.end(),
                        [least](const KeyNeed& key) { return key.num_tokens <= least; });
  return keys;
}

void Give(uint64_t most, KeyNeed* key, uint32_t* budget) {
  const auto given = static_cast<uint32_t>(std::min({most, key->num_tokens, uint64_t{*budget}}));
  key->num_tokens -= given;
  key->given += given;
  *budget -= given;
}

}  // namespace

PromptBudget::PromptBudget(const std::vector<PromptNeed>& needs, uint32_t budget, uint32_t least) {
  std::vector<KeyNeed> keys = InTurn(needs, least);
  for (KeyNeed& key : keys) {
    key.turn = std::min<uint64_t>(std::max(least, key.least), key.num_tokens);
    Give(key.turn, &key, &budget);
    // The first one has all that there is.
    key.has_turn = key.given == key.turn || &key == keys.data();
  }
  // The rest by weight, those first that need least for theirs: what they leave is for those
  // behind.
  std::vector<KeyNeed*> by_need;
  double weight = 0;
  for (KeyNeed& key : keys) {
    by_need.push_back(&key);
    weight += key.key->weight;
  }
  std::stable_sort(by_need.begin(), by_need.end(), [](const KeyNeed* a, const KeyNeed* b) {
    return static_cast<double>(a->num_tokens) * b->key->weight <
           static_cast<double>(b->num_tokens) * a->key->weight;
  });
  for (KeyNeed* key : by_need) {
    Give(static_cast<uint64_t>(budget * (key->key->weight / weight)), key, &budget);
    weight -= key->key->weight;
  }
  for (size_t rank = 0; rank < keys.size(); ++rank) {
    const KeyNeed& key = keys[rank];
    parts_[key.key] = {key.given, key.last_turn, rank, key.turn, 0, key.has_turn};
  }
}

void PromptBudget::Spend(const KeyAccount* key, uint32_t num_tokens, StepId step) {
  Part& part = parts_.at(key);
  part.left -= std::min(part.left, num_tokens);
  part.spent += num_tokens;
  if (part.has_turn || part.spent >= part.turn) part.last_turn = step;
}

}  // namespace baton::scheduler
