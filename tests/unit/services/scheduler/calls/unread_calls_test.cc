#include "services/scheduler/calls/unread_calls.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

class FakeCall final : public UnreadCall {
 public:
  // Its caller last took something so many seconds after the others' beginning.
  explicit FakeCall(int taken, std::string key = "a") : taken_(taken), key_(std::move(key)) {}
  void CutOff() override {}
  const std::string& fairness_key() const override { return key_; }
  MonotonicTime last_taken() const override { return MonotonicTime() + absl::Seconds(taken_); }

 private:
  const int taken_;
  const std::string key_;
};

TEST(UnreadCalls, WhoTookNothingForLongestGivesWayBeyondTheBound) {
  UnreadCalls calls(2);
  const auto reads = std::make_shared<FakeCall>(9);
  const auto longest = std::make_shared<FakeCall>(1);
  const auto third = std::make_shared<FakeCall>(5);
  EXPECT_EQ(calls.Add(reads), nullptr);
  EXPECT_EQ(calls.Add(longest), nullptr);
  EXPECT_EQ(calls.Add(third), longest);
  EXPECT_EQ(calls.size(), 2u);
  EXPECT_EQ(longest.use_count(), 1) << "nobody keeps it";
  calls.Remove(longest.get());  // it is counted no longer
  EXPECT_EQ(calls.size(), 2u);
}

TEST(UnreadCalls, TheKeyThatHasMostLosesOne) {
  UnreadCalls calls(4);
  const auto other = std::make_shared<FakeCall>(0, "a");
  EXPECT_EQ(calls.Add(other), nullptr);
  std::vector<std::shared_ptr<FakeCall>> flood;
  for (int i = 0; i < 10; ++i) {
    flood.push_back(std::make_shared<FakeCall>(1 + i, "flood"));
    const std::shared_ptr<UnreadCall> cut = calls.Add(flood.back());
    const size_t num_before = flood.size() - 1;
    EXPECT_EQ(cut, num_before < 3 ? nullptr : flood[num_before - 3]) << i;
  }
  EXPECT_EQ(calls.size(), 4u);
  calls.Remove(other.get());
  EXPECT_EQ(calls.size(), 3u);
}

TEST(UnreadCalls, WhatIsReadMakesRoom) {
  UnreadCalls calls(1);
  const auto first = std::make_shared<FakeCall>(1);
  const auto second = std::make_shared<FakeCall>(2);
  EXPECT_EQ(calls.Add(first), nullptr);
  calls.Remove(first.get());
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(calls.Add(second), nullptr);
  EXPECT_EQ(calls.size(), 1u);
}

}  // namespace
}  // namespace baton::scheduler
