#include "services/gateway/calls/text_queue.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

constexpr size_t kCapacity = 1 << 20;
constexpr size_t kLongBytes = TextQueue::kShortBodyBytes + 1;

class TextQueueTest : public testing::Test {
 protected:
  // A job that takes `time` of the worker; its name stands in ran_ then.
  absl::StatusOr<uint64_t> Post(const std::string& caller, absl::Duration time,
                                size_t num_bytes = 100, const std::string& name = "") {
    return queue_.Post(caller, num_bytes, [this, time, ran = name.empty() ? caller : name] {
      now_ += time;
      ran_.push_back(ran);
    });
  }
  void RunAll() {
    while (worker_.RunOne()) continue;
  }
  // Posts until one is refused; how many were taken, of `most`.
  size_t Flood(const std::string& caller, absl::Duration time, size_t most) {
    for (size_t count = 0; count < most; ++count) {
      const auto posted = Post(caller, time);
      if (posted.ok()) continue;
      refusal_ = posted.status();
      return count;
    }
    return most;
  }

  absl::Time now_ = absl::UnixEpoch();
  HeldExecutor worker_;
  TextQueue queue_{
      worker_, {.num_bytes = kCapacity, .wait = absl::Seconds(30)}, [this] { return now_; }};
  std::vector<std::string> ran_;
  absl::Status refusal_;
};

TEST_F(TextQueueTest, CallersTakeTurnsByTheTimeThatTheyTake) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Post("dear", absl::Milliseconds(200)).ok());
  ASSERT_TRUE(worker_.RunOne());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Post("light", absl::Milliseconds(50)).ok());
  RunAll();
  EXPECT_THAT(ran_, ElementsAre("dear", "light", "light", "light", "dear", "dear", "dear"));
}

TEST_F(TextQueueTest, TimeWithoutJobsIsNotSaved) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Post("early", absl::Milliseconds(100)).ok());
  for (int i = 0; i < 10; ++i) worker_.RunOne();
  ran_.clear();
  // It has had nothing of the last second, and has its turn with the other from here on.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Post("late", absl::Milliseconds(100)).ok());
  RunAll();
  ran_.resize(6);
  EXPECT_THAT(ran_, ElementsAre("late", "early", "late", "early", "late", "early"));
}

TEST_F(TextQueueTest, OfOneCallerTheFirstComesFirst) {
  for (const char* name : {"1", "2", "3"}) {
    ASSERT_TRUE(Post("a", absl::Milliseconds(1), 100, name).ok());
  }
  RunAll();
  EXPECT_THAT(ran_, ElementsAre("1", "2", "3"));
}

TEST_F(TextQueueTest, BoundsTheTimeThatACallerWaitsAndNobodyElsePays) {
  Flood("dear", absl::Milliseconds(200), 30);
  RunAll();
  // 30 s of jobs that take 200 ms each.
  const size_t taken = Flood("dear", absl::Milliseconds(200), 10'000);
  EXPECT_GE(taken, 140u);
  EXPECT_LE(taken, 160u);
  EXPECT_EQ(refusal_.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(RefusalReason(refusal_), kServerIsOverloaded);
  EXPECT_TRUE(Post("light", absl::Milliseconds(1)).ok());
  ran_.clear();
  worker_.RunOne();
  worker_.RunOne();
  EXPECT_THAT(ran_, testing::Contains("light"));
}

TEST_F(TextQueueTest, SaysWhenTheWaitIsExpectedToBeOver) {
  // Nothing is known of the caller; what it has posted turns out to take 200 ms each.
  const size_t taken = Flood("dear", absl::Milliseconds(200), 1'000);
  ASSERT_EQ(taken, 1'000u);
  for (int i = 0; i < 40; ++i) worker_.RunOne();
  EXPECT_FALSE(Post("dear", absl::Milliseconds(200)).ok());
  // 960 jobs are 192 s, of which 30 s may wait.
  std::set<absl::Duration> times;
  for (int i = 0; i < 100; ++i) {
    const auto refused = Post("dear", absl::Milliseconds(200));
    ASSERT_FALSE(refused.ok());
    times.insert(*RetryAfter(refused.status()));
  }
  EXPECT_GE(*times.begin(), absl::Seconds(155));
  EXPECT_LE(*times.rbegin(), absl::Seconds(330));
  EXPECT_GT(times.size(), 90u) << "spread";
}

TEST_F(TextQueueTest, WhatIsRememberedCostsNothingMore) {
  Flood("a", absl::Milliseconds(200), 30);
  RunAll();
  Flood("a", absl::Microseconds(100), 40);  // the same constraints again
  RunAll();
  EXPECT_GE(Flood("a", absl::Microseconds(100), 9'000), 9'000u);
}

TEST_F(TextQueueTest, BoundsTheBytesOfAll) {
  ASSERT_TRUE(Post("a", absl::ZeroDuration(), kCapacity / 2).ok());
  ASSERT_TRUE(Post("b", absl::ZeroDuration(), kCapacity / 2).ok());
  const auto refused = Post("c", absl::ZeroDuration(), kLongBytes);
  EXPECT_EQ(RefusalReason(refused.status()), kServerIsOverloaded);
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  RunAll();
  EXPECT_EQ(queue_.num_bytes(), 0u);
  EXPECT_TRUE(Post("c", absl::ZeroDuration(), kLongBytes).ok());
}

TEST_F(TextQueueTest, AStandstillDuringAJobKeepsNobodyOut) {
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(Post("a", absl::Seconds(200)).ok()) << "after " << i;
    RunAll();
  }
  ASSERT_TRUE(Post("b", absl::Milliseconds(1)).ok());
  EXPECT_TRUE(Post("a", absl::Milliseconds(1)).ok()) << "while another's waits";
}

TEST_F(TextQueueTest, AStandstillDuringAJobCostsNoMoreThanTheDearestJob) {
  ASSERT_TRUE(Post("a", absl::Seconds(200)).ok());
  ASSERT_TRUE(Post("a", absl::Milliseconds(100), 100, "next of a").ok());
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Post("b", absl::Milliseconds(100)).ok());
  RunAll();
  // A quarter of the bound is 75 jobs of the other.
  EXPECT_LE(std::find(ran_.begin(), ran_.end(), "next of a") - ran_.begin(), 80);
}

TEST_F(TextQueueTest, TheLargestBodyIsTakenWhileNothingWaits) {
  constexpr size_t kLargest = size_t{1} << 30;  // takes minutes
  TextQueue queue(worker_, TextQueue::LimitsFor(kLargest), [this] { return now_; });
  ASSERT_TRUE(queue.Post("a", kLargest, [] {}).ok());
  EXPECT_TRUE(queue.Post("b", kLongBytes, [] {}).ok()) << "it leaves room";
  RunAll();
  EXPECT_TRUE(queue.Post("a", kLargest, [] {}).ok());
}

TEST_F(TextQueueTest, TwoCallersThatFloodKeepNoThirdOut) {
  constexpr size_t kBody = kCapacity / 16;
  const auto flood = [&](const std::string& caller) {
    size_t taken = 0;
    while (Post(caller, absl::ZeroDuration(), kBody).ok()) ++taken;
    return taken;
  };
  EXPECT_EQ(flood("a"), 14u) << "an eighth stays free";
  EXPECT_EQ(flood("b"), 1u) << "the first of a caller is from that";
  EXPECT_TRUE(Post("c", absl::ZeroDuration(), kLongBytes).ok());
  EXPECT_EQ(flood("a"), 0u);
}

TEST_F(TextQueueTest, AShortFirstJobOfACallerAlwaysFits) {
  ASSERT_TRUE(Post("a", absl::ZeroDuration(), kCapacity).ok());
  ASSERT_TRUE(Post("b", absl::ZeroDuration(), TextQueue::kShortBodyBytes).ok());
  EXPECT_FALSE(Post("b", absl::ZeroDuration(), 1).ok()) << "its second";
  ASSERT_TRUE(Post("c", absl::ZeroDuration(), TextQueue::kShortBodyBytes).ok());
  EXPECT_FALSE(Post("d", absl::ZeroDuration(), kLongBytes).ok());
}

TEST_F(TextQueueTest, WithoutKeysNothingIsKeptForOthers) {
  for (int i = 0; i < 16; ++i) {
    EXPECT_TRUE(Post("", absl::ZeroDuration(), kCapacity / 16, "all").ok());
  }
}

// What is known of a caller is forgotten once too many others are remembered.
TEST_F(TextQueueTest, CallersThatAreRefusedAreNotRemembered) {
  Flood("dear", absl::Milliseconds(200), 30);
  RunAll();
  ASSERT_TRUE(Post("full", absl::ZeroDuration(), kCapacity).ok());
  for (int i = 0; i < 5'000; ++i) {
    ASSERT_FALSE(Post(absl::StrCat("late", i), absl::ZeroDuration(), kLongBytes).ok());
  }
  RunAll();
  EXPECT_LE(Flood("dear", absl::Milliseconds(200), 1'000), 160u);
}

TEST_F(TextQueueTest, ACallerIsRememberedFromJobToJob) {
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(Post("dear", absl::Milliseconds(200)).ok());
    const auto removed = Post("removed", absl::ZeroDuration());
    EXPECT_TRUE(queue_.Remove(*removed));
    RunAll();
  }
  EXPECT_LE(Flood("dear", absl::Milliseconds(200), 1'000), 160u);
}

TEST_F(TextQueueTest, AJobThatIsRemovedNeverRuns) {
  const auto first = Post("a", absl::ZeroDuration(), 100, "first");
  const auto second = Post("a", absl::ZeroDuration(), 100, "second");
  EXPECT_TRUE(queue_.Remove(*first));
  EXPECT_FALSE(queue_.Remove(*first)) << "it is gone";
  EXPECT_EQ(queue_.num_bytes(), 100u);
  RunAll();
  EXPECT_THAT(ran_, ElementsAre("second"));
  EXPECT_FALSE(queue_.Remove(*second)) << "it has run";
  EXPECT_EQ(queue_.num_bytes(), 0u);
}

TEST_F(TextQueueTest, AJobThatHasBegunIsNotRemoved) {
  uint64_t id = 0;
  bool removed = true;
  id = *queue_.Post("a", 1, [&] { removed = queue_.Remove(id); });
  RunAll();
  EXPECT_FALSE(removed);
}

}  // namespace
}  // namespace baton::gateway
