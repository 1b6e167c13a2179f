#include "services/scheduler/core/prompt_budget.h"

#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

KeyAccount Key(double weight = 1) {
  KeyAccount key;
  key.weight = weight;
  return key;
}

TEST(PromptBudget, GivesASingleKeyAllOfIt) {
  const KeyAccount key = Key();
  EXPECT_EQ(PromptBudget({{&key, 500}, {&key, 800}}, 1000, 64).LeftFor(&key), 1000u);
}

TEST(PromptBudget, HalvesItBetweenTwoThatNeedMore) {
  const KeyAccount many = Key();
  const KeyAccount one = Key();
  const PromptBudget budget({{&many, 900}, {&many, 900}, {&many, 900}, {&one, 900}}, 1000, 64);
  EXPECT_EQ(budget.LeftFor(&many), 500u);
  EXPECT_EQ(budget.LeftFor(&one), 500u);
}

TEST(PromptBudget, PassesOnWhatAKeyDoesNotNeed) {
  const KeyAccount large = Key();
  const KeyAccount small = Key();
  const PromptBudget budget({{&large, 5000}, {&small, 100}}, 1000, 64);
  EXPECT_EQ(budget.LeftFor(&large), 900u);
  EXPECT_EQ(budget.LeftFor(&small), 100u);
}

TEST(PromptBudget, SharesByWeight) {
  const KeyAccount heavy = Key(3);
  const KeyAccount light = Key(1);
  const PromptBudget budget({{&heavy, 5000}, {&light, 5000}}, 1000, 1);
  EXPECT_NEAR(budget.LeftFor(&heavy), 750, 1);
  EXPECT_NEAR(budget.LeftFor(&light), 250, 1);
}

TEST(PromptBudget, TakesTurnsWhenThereIsTooLittleForAll) {
  std::vector<KeyAccount> keys(5, Key());
  std::vector<PromptNeed> needs;
  for (size_t i = 0; i < keys.size(); ++i) needs.push_back({&keys[i], 1000, 10 - i});
  const PromptBudget budget(needs, 130, 64);
  EXPECT_EQ(budget.LeftFor(&keys[4]), 64u);  // its last turn is longest ago
  EXPECT_EQ(budget.LeftFor(&keys[3]), 64u);
  EXPECT_EQ(budget.LeftFor(&keys[2]), 2u);
  EXPECT_EQ(budget.LeftFor(&keys[1]), 0u);
}

// A key that has had no turn yet waits from when its first prompt got its place; those that come
// later neither bring its turn nor put it off.
TEST(PromptBudget, WhoHasHadNoTurnWaitsSinceItGotItsPlace) {
  const KeyAccount newcomer = Key();
  const KeyAccount served = Key();
  const KeyAccount growing = Key();
  const std::vector<PromptNeed> needs = {
      {&newcomer, 1000, 7}, {&served, 1000, 6}, {&growing, 1000, 5}, {&growing, 1000, 9}};
  const PromptBudget two(needs, 128, 64);
  EXPECT_EQ(two.LeftFor(&growing), 64u);
  EXPECT_EQ(two.LeftFor(&served), 64u);
  EXPECT_EQ(two.LeftFor(&newcomer), 0u);
  EXPECT_EQ(PromptBudget(needs, 64, 64).LeftFor(&growing), 64u);
}

// What is left for the last one is no turn: it comes first in the next step.
TEST(PromptBudget, ARestIsNoTurn) {
  const std::vector<KeyAccount> keys(3, Key());
  std::vector<PromptNeed> needs;
  for (const KeyAccount& key : keys) needs.push_back({&key, 1'000'000, 0});
  std::map<const KeyAccount*, uint32_t> had;
  for (StepId step = 1; step <= 300; ++step) {
    PromptBudget budget(needs, 130, 64);
    for (PromptNeed& need : needs) {
      const uint32_t left = budget.LeftFor(need.key);
      had[need.key] += left;
      budget.Spend(need.key, left, step);
      need.last_turn = budget.LastTurnOf(need.key);
    }
  }
  for (const KeyAccount& key : keys) EXPECT_GE(had[&key], 300 / 2 * 64u);
}

// But it is one if others left of theirs what makes it as long.
TEST(PromptBudget, ARestIsATurnIfOthersLeaveEnough) {
  const KeyAccount first = Key();
  const KeyAccount second = Key();
  PromptBudget budget({{&first, 1000, 1}, {&second, 1000, 2}}, 100, 64);
  ASSERT_EQ(budget.LeftFor(&second), 36u);
  budget.Spend(&second, 36, 3);
  EXPECT_EQ(budget.LastTurnOf(&second), 2u);
  budget.Spend(&second, 28, 3);
  EXPECT_EQ(budget.LastTurnOf(&second), 3u);
}

// Nor do they share less than that to no end: the first one has its turn whatever it gets.
TEST(PromptBudget, WhoGetsAllHasItsTurn) {
  const KeyAccount first = Key();
  const KeyAccount second = Key();
  PromptBudget budget({{&first, 1000, 1}, {&second, 1000, 2}}, 40, 64);
  EXPECT_EQ(budget.LeftFor(&first), 40u);
  budget.Spend(&first, 40, 3);
  EXPECT_EQ(budget.LastTurnOf(&first), 3u);
}

// What is done in no time need not wait for those that take long; but for the one whose turn it is.
TEST(PromptBudget, WhoNeedsLittleWaitsForOneTurn) {
  const std::vector<KeyAccount> keys(4, Key());
  const PromptBudget budget(
      {{&keys[0], 1000, 1}, {&keys[1], 1000, 2}, {&keys[2], 60, 8}, {&keys[3], 50, 9}}, 180, 64);
  EXPECT_EQ(budget.LeftFor(&keys[0]), 64u);
  EXPECT_EQ(budget.LeftFor(&keys[1]), 6u);
  EXPECT_EQ(budget.LeftFor(&keys[2]), 60u);
  EXPECT_EQ(budget.LeftFor(&keys[3]), 50u);
}

// Whatever is asked for, all of the budget is given that is needed, and each key has its part.
TEST(PromptBudget, LeavesNothingAndCheatsNobody) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<KeyAccount> keys;
    for (uint64_t n = 1 + random() % 8; n > 0; --n) keys.push_back(Key(1.0 + random() % 5));
    std::vector<PromptNeed> needs;
    std::vector<uint64_t> wanted(keys.size());
    for (uint64_t n = 1 + random() % 20; n > 0; --n) {
      const size_t key = random() % keys.size();
      needs.push_back({&keys[key], static_cast<uint32_t>(1 + random() % 3000), random() % 50});
      wanted[key] += needs.back().num_tokens;
    }
    const auto total = static_cast<uint32_t>(8 * 64 + random() % 4096);
    const PromptBudget budget(needs, total, 64);
    uint64_t given = 0;
    double weight = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (wanted[i] > 0) weight += keys[i].weight;
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      if (wanted[i] == 0) continue;
      const uint64_t left = budget.LeftFor(&keys[i]);
      given += left;
      ASSERT_LE(left, wanted[i]);
      ASSERT_GE(left, std::min<uint64_t>(wanted[i], 64));
      const double part =
          (total - 64.0 * static_cast<double>(keys.size())) * keys[i].weight / weight;
      ASSERT_GE(static_cast<double>(left) + static_cast<double>(keys.size()),
                std::min(static_cast<double>(wanted[i]), part));
    }
    ASSERT_EQ(given, std::min<uint64_t>(
                         total, std::accumulate(wanted.begin(), wanted.end(), uint64_t{0})));
  }
}

}  // namespace
}  // namespace baton::scheduler
