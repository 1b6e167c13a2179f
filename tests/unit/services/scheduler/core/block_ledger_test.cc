#include "services/scheduler/core/block_ledger.h"

#include <random>
#include <set>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

TEST(BlockLedger, GivesWholeBlocksForTokens) {
  BlockLedger ledger(10, 64);
  EXPECT_EQ(ledger.Grow(1, 1)->size(), 1u);
  EXPECT_EQ(ledger.Grow(1, 64)->size(), 0u);
  EXPECT_EQ(ledger.Grow(1, 65)->size(), 1u);
  EXPECT_EQ(ledger.Grow(1, 640)->size(), 8u);
  EXPECT_EQ(ledger.num_free(), 0u);
  EXPECT_EQ(ledger.capacity_tokens(), 640u);
}

TEST(BlockLedger, RefusesWhenTooFewAreFreeAndChangesNothing) {
  BlockLedger ledger(3, 64);
  ASSERT_TRUE(ledger.Grow(1, 128).has_value());
  EXPECT_FALSE(ledger.Grow(2, 65).has_value());
  EXPECT_EQ(ledger.num_free(), 1u);
  EXPECT_EQ(ledger.num_tables(), 1u);
  EXPECT_TRUE(ledger.Grow(2, 64).has_value());
}

TEST(BlockLedger, ReleaseFreesAllOnce) {
  BlockLedger ledger(4, 16);
  ASSERT_TRUE(ledger.Grow(1, 40).has_value());
  ledger.Release(1);
  ledger.Release(1);
  EXPECT_EQ(ledger.num_used(), 0u);
  EXPECT_EQ(ledger.Table(1).size(), 0u);
}

TEST(BlockLedger, HandsOutTheLongestFreeFirst) {
  BlockLedger ledger(3, 1);
  ASSERT_EQ(ledger.Grow(1, 1)->front(), 0u);
  ledger.Release(1);
  EXPECT_EQ(ledger.Grow(2, 2), (std::vector<BlockId>{1, 2}));
}

TEST(BlockLedger, NeverGivesABlockTwice) {
  std::mt19937 random(7);
  BlockLedger ledger(50, 8);
  std::vector<uint64_t> wanted(20, 0);
  for (int i = 0; i < 5000; ++i) {
    const SequenceId id = random() % wanted.size();
    if (random() % 4 == 0) {
      ledger.Release(id);
      wanted[id] = 0;
    } else if (ledger.Grow(id, wanted[id] + random() % 20).has_value()) {
      wanted[id] = ledger.Table(id).size() * 8;
    }
    std::set<BlockId> seen;
    size_t held = 0;
    for (SequenceId each = 0; each < wanted.size(); ++each) {
      seen.insert(ledger.Table(each).begin(), ledger.Table(each).end());
      held += ledger.Table(each).size();
    }
    ASSERT_EQ(seen.size(), held);
    ASSERT_EQ(ledger.num_used(), held);
  }
}

}  // namespace
}  // namespace baton::scheduler
