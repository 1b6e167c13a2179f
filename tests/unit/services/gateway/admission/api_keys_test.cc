#include "services/gateway/admission/api_keys.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/digest/sha256.h"

namespace baton::gateway {
namespace {

TEST(ApiKeys, SayForTheLogWhereTheyStand) {
  EXPECT_EQ(ApiKeys(ApiKeys::Options()).Describe(), "none: everybody may call");
  EXPECT_EQ(ApiKeys({.keys = {"alpha", "beta"}, .source = "--api-key"}).Describe(),
            "2 of --api-key");
}

TEST(ApiKeys, WithoutKeysEverybodyMayCall) {
  EXPECT_TRUE(ApiKeys(ApiKeys::Options()).Check("").ok());
  EXPECT_TRUE(ApiKeys(ApiKeys::Options()).Check("Bearer whatever").ok());
}

TEST(ApiKeys, OnlyAWholeKeyMatches) {
  const ApiKeys keys({.keys = {"alpha", "beta"}});
  EXPECT_TRUE(keys.Check("Bearer alpha").ok());
  EXPECT_TRUE(keys.Check("bearer beta").ok());
  for (const char* wrong : {"", "alpha", "Bearer", "Bearer ", "Bearer alph", "Bearer alphaa",
                            "Bearer ALPHA", "Basic alpha", "Bearer alpha beta"}) {
    EXPECT_EQ(keys.Check(wrong).code(), absl::StatusCode::kUnauthenticated) << wrong;
  }
}

TEST(ApiKeys, NamesTheCallerWithoutTheKey) {
  const ApiKeys keys({.keys = {"alpha", "beta", "gamma"}, .weights = {2, 5}});
  EXPECT_EQ(keys.Identify("Bearer alpha")->name, "key-1");
  EXPECT_EQ(keys.Identify("Bearer alpha")->weight, 2u);
  EXPECT_EQ(keys.Identify("Bearer beta")->weight, 5u);
  EXPECT_EQ(keys.Identify("Bearer gamma")->name, "key-3");
  EXPECT_EQ(keys.Identify("Bearer gamma")->weight, 1u);
  EXPECT_EQ(ApiKeys(ApiKeys::Options()).Identify("Bearer alpha")->name, "");
}

TEST(ApiKeys, AKeyHasNoBetterPriorityThanItMay) {
  const ApiKeys keys({.keys = {"alpha"}, .limits = {.best_priority = -2}});
  const ApiCaller caller = *keys.Identify("Bearer alpha");
  EXPECT_EQ(caller.PriorityOf(-5), -2);
  EXPECT_EQ(caller.PriorityOf(-1), -1);
  EXPECT_EQ(caller.PriorityOf(7), 7);
  EXPECT_EQ(ApiKeys({.keys = {"alpha"}}).Identify("Bearer alpha")->PriorityOf(-1), 0);
  EXPECT_EQ(ApiKeys(ApiKeys::Options()).Identify("")->PriorityOf(-5), -5)
      << "without keys nobody is to be protected from another";
}

TEST(ApiKeys, CachedPromptsBelongToTheKeyWhereverItStands) {
  const ApiKeys keys({.keys = {"alpha", "beta"}});
  const std::string owner = keys.Identify("Bearer alpha")->cache_owner;
  EXPECT_EQ(owner.size(), 32u);
  EXPECT_NE(keys.Identify("Bearer beta")->cache_owner, owner);
  EXPECT_EQ(ApiKeys({.keys = {"gamma", "alpha"}}).Identify("Bearer alpha")->cache_owner, owner);
  EXPECT_EQ(ApiKeys(ApiKeys::Options()).Identify("Bearer alpha")->cache_owner, "");
  const ApiKeys sharing({.keys = {"alpha", "beta"}, .share_cache = true});
  EXPECT_EQ(sharing.Identify("Bearer beta")->cache_owner, "");
}

TEST(ApiKeys, AKeyLongerThanAnyRealOneIsRefused) {
  const std::string longest(ApiKeys::kMaxKeyBytes, 'k');
  const ApiKeys keys({.keys = {longest}});
  EXPECT_TRUE(keys.Check("Bearer " + longest).ok());
  EXPECT_FALSE(keys.Check("Bearer " + longest + "k").ok());
}

std::string Hash(const std::string& key) {
  std::string hex;
  for (const uint8_t byte : Sha256(key)) absl::StrAppend(&hex, absl::Hex(byte, absl::kZeroPad2));
  return hex;
}

TEST(ApiKeyFile, SaysNamesAndLimits) {
  const auto keys =
      ParseApiKeyFile(absl::StrCat("# who\n\nalice ", Hash("a"),
                                   " requests-per-minute=60 weight=3 best-priority=-1 # hers\r\n",
                                   "bob.2\t", Hash("b")),
                      {.requests_per_minute = 5, .tokens_per_minute = 100});
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].name, "alice");
  EXPECT_EQ((*keys)[0].weight, 3u);
  EXPECT_EQ((*keys)[0].limits.requests_per_minute, 60u);
  EXPECT_EQ((*keys)[0].limits.tokens_per_minute, 100u);
  EXPECT_EQ((*keys)[0].limits.best_priority, -1);
  EXPECT_EQ((*keys)[1].limits.best_priority, 0);
  EXPECT_EQ((*keys)[1].name, "bob.2");
  EXPECT_EQ((*keys)[1].digest, Sha256("b"));
  EXPECT_EQ((*keys)[1].limits.requests_per_minute, 5u);
}

TEST(ApiKeyFile, RefusesByLine) {
  const std::string good = absl::StrCat("a ", Hash("a"), "\n");
  for (const std::string& bad :
       {std::string("b"), std::string("b 123"), absl::StrCat("b c ", Hash("b")),
        absl::StrCat("b ", Hash("b"), " weight=0"), absl::StrCat("b ", Hash("b"), " weight"),
        absl::StrCat("b ", Hash("b"), " wait=1"),
        absl::StrCat("b ", Hash("b"), " max-num-requests=-1"),
        absl::StrCat("b ", Hash("b"), " best-priority=2147483648"), absl::StrCat("a ", Hash("b")),
        absl::StrCat("b ", Hash("a")), absl::StrCat("b ", Hash("b"), " weight=1 weight=2")}) {
    const auto keys = ParseApiKeyFile(good + bad, {});
    EXPECT_THAT(std::string(keys.status().message()), testing::HasSubstr("line 2: ")) << bad;
  }
}

// A file in the test's own folder.
class ApiKeyFileTest : public testing::Test {
 protected:
  void Write(const std::string& text) {
    const std::string other = path_ + ".new";
    std::ofstream(other) << text;
    ASSERT_EQ(std::rename(other.c_str(), path_.c_str()), 0);
  }
  const std::string path_ = absl::StrCat(testing::TempDir(), "/api_keys.", getpid());
};

TEST_F(ApiKeyFileTest, IsReadAgainWhenItHasChanged) {
  Write(absl::StrCat("alice ", Hash("a")));
  ApiKeys keys({.keys = {"flag"}, .file = path_});
  ASSERT_TRUE(keys.Load().ok());
  EXPECT_EQ(keys.Identify("Bearer a")->name, "alice");
  EXPECT_EQ(keys.Identify("Bearer flag")->name, "key-1");
  EXPECT_FALSE(keys.Check("Bearer b").ok());
  Write(absl::StrCat("bob ", Hash("b")));
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!keys.Check("Bearer b").ok()) ASSERT_LT(absl::Now(), deadline);
  EXPECT_FALSE(keys.Check("Bearer a").ok());
}

TEST_F(ApiKeyFileTest, IsReadAgainUntilThatSucceeds) {
  Write(absl::StrCat("alice ", Hash("a")));
  ApiKeys keys({.file = path_});
  ASSERT_TRUE(keys.Load().ok());
  // What is read first fails, and the file's stamp is the same when it no longer would.
  std::string text = absl::StrCat("bob ", Hash("b"));
  std::ofstream(path_) << std::string(text.size(), '?');
  const auto written = std::filesystem::last_write_time(path_);
  testing::internal::CaptureStderr();
  absl::Time later = absl::Now() + absl::Milliseconds(2500);
  while (absl::Now() < later) EXPECT_TRUE(keys.Check("Bearer a").ok());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  std::ofstream(path_) << text;
  std::filesystem::last_write_time(path_, written);
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!keys.Check("Bearer b").ok()) ASSERT_LT(absl::Now(), deadline);
  EXPECT_FALSE(keys.Check("Bearer a").ok());
}

TEST_F(ApiKeyFileTest, HoldsNoNameAndNoKeyOfTheFlags) {
  for (const std::string& line :
       {absl::StrCat("key-1 ", Hash("a")), absl::StrCat("alice ", Hash("flag"))}) {
    Write(line);
    ApiKeys keys({.keys = {"flag"}, .file = path_});
    EXPECT_THAT(std::string(keys.Load().message()), testing::HasSubstr("line 1")) << line;
  }
}

TEST_F(ApiKeyFileTest, IsNoFolder) {
  ApiKeys keys({.file = testing::TempDir()});
  EXPECT_EQ(keys.Load().code(), absl::StatusCode::kNotFound);
}

TEST_F(ApiKeyFileTest, IsAnErrorAtTheStartAndIgnoredLater) {
  Write("alice");
  ApiKeys keys({.file = path_});
  EXPECT_THAT(std::string(keys.Load().message()), testing::HasSubstr("line 1"));
  EXPECT_FALSE(keys.Check("").ok()) << "no key is no leave";
  Write(absl::StrCat("alice ", Hash("a")));
  ASSERT_TRUE(keys.Load().ok());
  std::remove(path_.c_str());
  const absl::Time later = absl::Now() + absl::Milliseconds(1100);
  while (absl::Now() < later) EXPECT_TRUE(keys.Check("Bearer a").ok());
}

}  // namespace
}  // namespace baton::gateway
