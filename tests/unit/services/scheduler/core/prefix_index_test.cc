#include "services/scheduler/core/prefix_index.h"

#include <vector>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

const std::vector<TokenId> kBlockOfTokens = {1, 2};
const std::vector<TokenId> kOthers = {1, 3};
constexpr BlockHash kRoot = {1, 1};
constexpr BlockHash kHash = {2, 2};

TEST(PrefixIndex, FindsWhatWasPut) {
  PrefixIndex index(4);
  EXPECT_FALSE(index.Find({kHash, kRoot, kBlockOfTokens}).has_value());
  index.Put(3, {kHash, kRoot, kBlockOfTokens});
  EXPECT_EQ(index.Find({kHash, kRoot, kBlockOfTokens}), 3u);
  EXPECT_TRUE(index.Drop(3));
  EXPECT_FALSE(index.Drop(3));
  EXPECT_FALSE(index.Find({kHash, kRoot, kBlockOfTokens}).has_value());
  EXPECT_EQ(index.size(), 0u);
}

TEST(PrefixIndex, IsNotFooledByEqualHashes) {
  PrefixIndex index(4);
  index.Put(0, {kHash, kRoot, kBlockOfTokens});
  EXPECT_FALSE(index.Find({kHash, kRoot, kOthers}).has_value());
  EXPECT_FALSE(index.Find({kHash, {1, 9}, kBlockOfTokens}).has_value());
}

TEST(PrefixIndex, FindsAnotherBlockOnceTheFirstIsGone) {
  PrefixIndex index(4);
  index.Put(0, {kHash, kRoot, kBlockOfTokens});
  index.Put(1, {kHash, kRoot, kBlockOfTokens});
  EXPECT_TRUE(index.Offer(0));
  EXPECT_FALSE(index.Offer(1));
  EXPECT_FALSE(index.Offer(2));
  EXPECT_EQ(index.Find({kHash, kRoot, kBlockOfTokens}), 0u);
  index.Drop(0);
  EXPECT_TRUE(index.Offer(1));
  EXPECT_EQ(index.Find({kHash, kRoot, kBlockOfTokens}), 1u);
}

}  // namespace
}  // namespace baton::scheduler
