// How the prompts of several keys share the tokens that the decodes leave of a step.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "services/scheduler/core/fair_shares.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// One prompt that can go on.
struct PromptNeed {
  const KeyAccount* key = nullptr;
  uint32_t num_tokens = 0;
  StepId last_step = 0;  // that it took part in
  // Tokens of it below which a step pays more for the chunk than the chunk is worth; 0: none.
  uint32_t least = 0;
  // Computed already, where that makes each chunk dearer. Of keys whose last turn is as long ago,
  // the one with less behind it comes first: they get on alike.
  uint32_t num_computed = 0;
};

// Each key with prompts gets its part by weight, or what it needs if that is less; what it leaves
// is for the others. Nobody gets less than `least` tokens, or the most that one of its prompts has
// to get, unless it needs less; if the budget has no room for that, those whose last turn is
// longest ago come first: with k keys, none waits for more than k * least / budget steps, rounded
// up.
class PromptBudget final {
 public:
  PromptBudget(const std::vector<PromptNeed>& needs, uint32_t budget, uint32_t least);

  // What the prompts of `key` have left.
  uint32_t LeftFor(const KeyAccount* key) const { return left_.at(key); }
  void Spend(const KeyAccount* key, uint32_t num_tokens) { left_.at(key) -= num_tokens; }

 private:
  std::map<const KeyAccount*, uint32_t> left_;
};

}  // namespace baton::scheduler
