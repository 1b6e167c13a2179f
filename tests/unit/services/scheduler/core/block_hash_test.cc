#include "services/scheduler/core/block_hash.h"

#include <vector>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

const std::vector<uint32_t> kFourTokens = {5, 6, 7, 8};

TEST(BlockHasher, NamesTheSameTextTheSame) {
  const BlockHasher one(4, "secret");
  const BlockHasher other(4, "secret");
  EXPECT_EQ(one.Root("salt"), other.Root("salt"));
  EXPECT_EQ(one.Next(one.Root("salt"), kFourTokens), other.Next(other.Root("salt"), kFourTokens));
}

TEST(BlockHasher, TellsTokensAndWhatStandsBeforeThemApart) {
  const BlockHasher hasher(4, "secret");
  const BlockHash root = hasher.Root("");
  const BlockHash first = hasher.Next(root, kFourTokens);
  EXPECT_NE(first, hasher.Next(root, {5, 6, 8, 7}));
  EXPECT_NE(first, hasher.Next(root, {5, 6, 7, 8 + (1 << 16)}));
  EXPECT_NE(first, hasher.Next(first, kFourTokens));
}

TEST(BlockHasher, TellsFormsOfAttentionApart) {
  const BlockHasher hasher(4, "secret");
  const BlockHash root = hasher.Root("");
  const BlockHash absorbed = hasher.Next(root, kFourTokens);
  const BlockHash expanded = hasher.Next(root, kFourTokens, true);
  EXPECT_EQ(absorbed, hasher.Next(root, kFourTokens, false));
  EXPECT_NE(absorbed, expanded);
  // What stands before a block counts with its form.
  EXPECT_NE(hasher.Next(absorbed, kFourTokens), hasher.Next(expanded, kFourTokens));
}

TEST(BlockHasher, SeparatesSaltsAndSecrets) {
  const BlockHasher hasher(4, "secret");
  EXPECT_NE(hasher.Root("a"), hasher.Root("b"));
  EXPECT_NE(hasher.Root(""), BlockHasher(4, "another").Root(""));
  // What ends the one does not begin the other.
  EXPECT_NE(BlockHasher(4, "ab").Root("c"), BlockHasher(4, "a").Root("bc"));
}

}  // namespace
}  // namespace baton::scheduler
