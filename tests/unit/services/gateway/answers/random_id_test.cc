#include "services/gateway/answers/random_id.h"

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(RandomId, IsThePrefixAnd32Digits) {
  const std::string id = RandomId("call_");
  ASSERT_THAT(id, testing::StartsWith("call_"));
  EXPECT_EQ(id.size(), 5u + 32u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef", 5), std::string::npos) << id;
}

TEST(RandomId, IsNeverTwiceTheSameOnAnyThread) {
  constexpr int kThreads = 4;
  constexpr int kIds = 500;
  std::vector<std::vector<std::string>> drawn(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&ids = drawn[t]] {
      for (int i = 0; i < kIds; ++i) ids.push_back(RandomId(""));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& ids : drawn) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), static_cast<size_t>(kThreads) * kIds);
}

}  // namespace
}  // namespace baton::gateway
