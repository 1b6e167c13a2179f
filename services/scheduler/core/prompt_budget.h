// How the prompts of several keys share the tokens that the decodes leave of a step.
#pragma once

#include <cstddef>
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
  StepId last_turn = 0;  // of its key, or since when it wants one: see Sequence
  // Tokens of it below which a step pays more for the chunk than the chunk is worth; 0: none.
  uint32_t least = 0;
  // Computed already, where that makes each chunk dearer. Of keys whose last turn is as long ago,
  // the one with less behind it comes first: they get on alike.
  uint32_t num_computed = 0;
};

// Each key with prompts gets its part by weight, or what it needs if that is less; what it leaves
// is for the others. Nobody gets less than `least` tokens, or the most that one of its prompts has
// to get, unless it needs less. If the budget has no room for that, they take turns: the key whose
// last turn is longest ago comes first, then those that need no more than `least`, then the others,
// by their last turns. A rest that is less than that is no turn, but for the first one. A key that
// has had none yet comes as if it had when the first of its prompts got its place. So with k keys
// none waits for more than k * least / budget steps, rounded up; nor, whoever comes later, for more
// than k.
class PromptBudget final {
 public:
  PromptBudget(const std::vector<PromptNeed>& needs, uint32_t budget, uint32_t least);

  // What the prompts of `key` have left.
  uint32_t LeftFor(const KeyAccount* key) const { return parts_.at(key).left; }
  // When `key` had its last turn.
  StepId LastTurnOf(const KeyAccount* key) const { return parts_.at(key).last_turn; }
  // Place of `key` among those that take turns.
  size_t RankOf(const KeyAccount* key) const { return parts_.at(key).rank; }
  // Its prompts have so many tokens of `step`, more than its part if others left theirs. That is
  // its turn, unless only a rest was left for them, and what they have is no more than that.
  void Spend(const KeyAccount* key, uint32_t num_tokens, StepId step);

 private:
  struct Part {
    uint32_t left = 0;
    StepId last_turn = 0;
    size_t rank = 0;
    uint64_t turn = 0;      // tokens that are one
    uint64_t spent = 0;     // tokens of this step
    bool has_turn = false;  // in this step, whatever it spends
  };
  std::map<const KeyAccount*, Part> parts_;
};

}  // namespace baton::scheduler
