#include "services/gateway/admission/api_keys.h"

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(ApiKeys, WithoutKeysEverybodyMayCall) {
  EXPECT_TRUE(ApiKeys({}).Check("").ok());
  EXPECT_TRUE(ApiKeys({}).Check("Bearer whatever").ok());
}

TEST(ApiKeys, OnlyAWholeKeyMatches) {
  const ApiKeys keys({"alpha", "beta"});
  EXPECT_TRUE(keys.Check("Bearer alpha").ok());
  EXPECT_TRUE(keys.Check("bearer beta").ok());
  for (const char* wrong : {"", "alpha", "Bearer", "Bearer ", "Bearer alph", "Bearer alphaa",
                            "Bearer ALPHA", "Basic alpha", "Bearer alpha beta"}) {
    EXPECT_EQ(keys.Check(wrong).code(), absl::StatusCode::kUnauthenticated) << wrong;
  }
}

TEST(ApiKeys, NamesTheCallerWithoutTheKey) {
  const ApiKeys keys({"alpha", "beta", "gamma"}, {2, 5});
  EXPECT_EQ(keys.Identify("Bearer alpha")->name, "key-1");
  EXPECT_EQ(keys.Identify("Bearer alpha")->weight, 2u);
  EXPECT_EQ(keys.Identify("Bearer beta")->weight, 5u);
  EXPECT_EQ(keys.Identify("Bearer gamma")->name, "key-3");
  EXPECT_EQ(keys.Identify("Bearer gamma")->weight, 1u);
  EXPECT_EQ(ApiKeys({}).Identify("Bearer alpha")->name, "");
}

TEST(ApiKeys, CachedPromptsBelongToTheKeyWhereverItStands) {
  const ApiKeys keys({"alpha", "beta"});
  const std::string owner = keys.Identify("Bearer alpha")->cache_owner;
  EXPECT_EQ(owner.size(), 32u);
  EXPECT_NE(keys.Identify("Bearer beta")->cache_owner, owner);
  EXPECT_EQ(ApiKeys({"gamma", "alpha"}).Identify("Bearer alpha")->cache_owner, owner);
  EXPECT_EQ(ApiKeys({}).Identify("Bearer alpha")->cache_owner, "");
  const ApiKeys sharing({"alpha", "beta"}, {}, /*share_cache=*/true);
  EXPECT_EQ(sharing.Identify("Bearer beta")->cache_owner, "");
}

TEST(ApiKeys, AKeyLongerThanAnyRealOneIsRefused) {
  const std::string longest(ApiKeys::kMaxKeyBytes, 'k');
  const ApiKeys keys({longest});
  EXPECT_TRUE(keys.Check("Bearer " + longest).ok());
  EXPECT_FALSE(keys.Check("Bearer " + longest + "k").ok());
}

}  // namespace
}  // namespace baton::gateway
