#include "services/scheduler/calls/unread_calls.h"

#include <memory>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

class CountedCall final : public UnreadCall {
 public:
  void CutOff() override { ++num_cuts; }
  int num_cuts = 0;
};

TEST(UnreadCalls, TheOldestGivesWayBeyondTheBound) {
  UnreadCalls calls(2);
  const auto first = std::make_shared<CountedCall>();
  const auto second = std::make_shared<CountedCall>();
  const auto third = std::make_shared<CountedCall>();
  EXPECT_EQ(calls.Add(first), nullptr);
  EXPECT_EQ(calls.Add(second), nullptr);
  EXPECT_EQ(calls.Add(third), first);
  EXPECT_EQ(calls.size(), 2u);
  EXPECT_EQ(first.use_count(), 1) << "nobody keeps it";
  calls.Remove(first.get());  // it is counted no longer
  EXPECT_EQ(calls.size(), 2u);
}

TEST(UnreadCalls, WhatIsReadMakesRoom) {
  UnreadCalls calls(1);
  const auto first = std::make_shared<CountedCall>();
  const auto second = std::make_shared<CountedCall>();
  EXPECT_EQ(calls.Add(first), nullptr);
  calls.Remove(first.get());
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(calls.Add(second), nullptr);
  EXPECT_EQ(calls.size(), 1u);
}

}  // namespace
}  // namespace baton::scheduler
