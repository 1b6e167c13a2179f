#include "services/gateway/admission/early_gate.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

using std::chrono::milliseconds;

absl::Status FullQueue(absl::Duration closed_for) {
  return WithClosedFor(
      WithRetryAfter(absl::ResourceExhaustedError("64 requests wait already"), absl::Seconds(10)),
      closed_for);
}

class EarlyGates : public testing::Test {
 protected:
  bool IsOpen(const std::string& caller, int after_ms, int32_t priority = 0) {
    return gate_.Check(caller, priority, begin_ + milliseconds(after_ms)).ok();
  }

  const EarlyGate::Time begin_ = EarlyGate::Time(std::chrono::hours(1));
  EarlyGate gate_{absl::Milliseconds(100)};
};

TEST_F(EarlyGates, IsOpenUntilTheSchedulerRefuses) {
  EXPECT_TRUE(IsOpen("key-1", 0));
  gate_.Learn("key-1", 0, absl::ResourceExhaustedError("too large for now"), begin_);
  EXPECT_TRUE(IsOpen("key-1", 0)) << "a smaller request might be taken";
}

TEST_F(EarlyGates, IsClosedForAsLongAsTheSchedulerExpects) {
  gate_.Learn("key-1", 0, FullQueue(absl::Milliseconds(20)), begin_);
  EXPECT_FALSE(IsOpen("key-1", 19));
  EXPECT_TRUE(IsOpen("key-1", 20));
}

TEST_F(EarlyGates, IsNeverClosedBeyondTheBound) {
  gate_.Learn("key-1", 0, FullQueue(absl::Hours(1)), begin_);
  EXPECT_FALSE(IsOpen("key-1", 99));
  EXPECT_TRUE(IsOpen("key-1", 100));
}

TEST_F(EarlyGates, IsOpenForOtherKeys) {
  gate_.Learn("key-1", 0, FullQueue(absl::Milliseconds(20)), begin_);
  EXPECT_TRUE(IsOpen("key-2", 1));
}

TEST_F(EarlyGates, IsOpenForBetterPriorities) {
  gate_.Learn("key-1", 0, FullQueue(absl::Milliseconds(20)), begin_);
  EXPECT_TRUE(IsOpen("key-1", 1, -1));
  EXPECT_FALSE(IsOpen("key-1", 1, 1));
  gate_.Learn("key-1", 5, FullQueue(absl::Milliseconds(50)), begin_);
  EXPECT_FALSE(IsOpen("key-1", 1, 0)) << "a refusal of worse ones does not open it";
}

TEST_F(EarlyGates, RefusesAsTheSchedulerDidWithTimesToRetryThatSpread) {
  gate_.Learn("key-1", 0, FullQueue(absl::Milliseconds(20)), begin_);
  std::set<absl::Duration> times;
  for (int i = 0; i < 100; ++i) {
    const absl::Status refusal = gate_.Check("key-1", 0, begin_);
    EXPECT_TRUE(absl::IsResourceExhausted(refusal));
    EXPECT_EQ(refusal.message(), "64 requests wait already");
    ASSERT_TRUE(RetryAfter(refusal).has_value());
    EXPECT_GE(*RetryAfter(refusal), absl::Seconds(9));
    EXPECT_LE(*RetryAfter(refusal), absl::Seconds(11));
    times.insert(*RetryAfter(refusal));
  }
  EXPECT_GT(times.size(), 50u);
}

TEST_F(EarlyGates, ForgetKeysForWhichTheyAreOpenAgain) {
  for (int second = 0; second < 20; ++second) {  // a file whose keys change all the time
    for (int i = 0; i < 10; ++i) {
      gate_.Learn(absl::StrCat("key-", second, "-", i), 0, FullQueue(absl::Milliseconds(20)),
                  begin_ + std::chrono::seconds(second));
    }
    EXPECT_LE(gate_.num_keys(), 20u) << second;
  }
}

TEST(EarlyGate, WithoutABoundIsAlwaysOpen) {
  EarlyGate gate{absl::ZeroDuration()};
  const EarlyGate::Time now{std::chrono::hours(1)};
  gate.Learn("", 0, FullQueue(absl::Seconds(1)), now);
  EXPECT_TRUE(gate.Check("", 0, now).ok());
}

}  // namespace
}  // namespace baton::gateway
