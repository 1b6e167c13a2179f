#include "services/gateway/calls/text_queue.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

constexpr size_t kCapacity = 1 << 20;

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
  EXPECT_GE(Flood("a", absl::Microseconds(100), 10'000), 10'000u);
}

TEST_F(TextQueueTest, BoundsTheBytesOfAll) {
  ASSERT_TRUE(Post("a", absl::ZeroDuration(), kCapacity / 2).ok());
  ASSERT_TRUE(Post("b", absl::ZeroDuration(), kCapacity / 2).ok());
  const auto refused = Post("c", absl::ZeroDuration(), 1);
  EXPECT_EQ(RefusalReason(refused.status()), kServerIsOverloaded);
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  RunAll();
  EXPECT_EQ(queue_.num_bytes(), 0u);
  EXPECT_TRUE(Post("c", absl::ZeroDuration(), 1).ok());
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
