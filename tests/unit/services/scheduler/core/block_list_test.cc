#include "services/scheduler/core/block_list.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

TEST(BlockList, GivesTheOldestFirst) {
  BlockList list(4);
  for (BlockId block : {2u, 0u, 3u}) list.PushBack(block);
  EXPECT_EQ(list.size(), 3u);
  EXPECT_EQ(list.PopFront(), 2u);
  list.PushBack(2);
  EXPECT_EQ(list.PopFront(), 0u);
  EXPECT_EQ(list.PopFront(), 3u);
  EXPECT_EQ(list.PopFront(), 2u);
  EXPECT_TRUE(list.empty());
}

TEST(BlockList, LosesOneFromItsMiddleAndItsEnds) {
  BlockList list(5);
  for (BlockId block = 0; block < 5; ++block) list.PushBack(block);
  for (BlockId block : {2u, 0u, 4u}) {
    EXPECT_TRUE(list.contains(block));
    list.Remove(block);
    EXPECT_FALSE(list.contains(block));
  }
  EXPECT_EQ(list.PopFront(), 1u);
  EXPECT_EQ(list.PopFront(), 3u);
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace baton::scheduler
