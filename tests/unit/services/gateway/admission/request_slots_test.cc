#include "services/gateway/admission/request_slots.h"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

TEST(RequestSlots, RefusesWhenAllAreTakenAndSaysWhenToRetry) {
  RequestSlots slots(1);
  std::optional<RequestSlots::Slot> slot(std::move(*slots.Acquire()));
  const auto refused = slots.Acquire();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(RefusalReason(refused.status()), "server_is_overloaded");
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  slot.reset();
  EXPECT_TRUE(slots.Acquire().ok());
  EXPECT_EQ(slots.num_taken(), 0u);
}

TEST(RequestSlots, CountsTheSequencesOfARequest) {
  RequestSlots slots(8);
  std::optional<RequestSlots::Slot> first(std::move(*slots.Acquire()));
  EXPECT_TRUE(first->Extend(6).ok());
  EXPECT_EQ(slots.num_taken(), 6u);
  std::optional<RequestSlots::Slot> second(std::move(*slots.Acquire()));
  EXPECT_EQ(RefusalReason(second->Extend(3)), "server_is_overloaded");
  EXPECT_EQ(slots.num_taken(), 7u) << "a refusal takes nothing";
  EXPECT_EQ(RefusedField(second->Extend(9)), "n") << "it could never fit";
  first.reset();
  EXPECT_TRUE(second->Extend(8).ok());
  second.reset();
  EXPECT_EQ(slots.num_taken(), 0u);
}

TEST(RequestSlots, BoundsWhatOneCallerTakes) {
  RequestSlots slots(10);
  std::optional<RequestSlots::Slot> first(std::move(*slots.Acquire("a", 2)));
  ASSERT_TRUE(first->Extend(2).ok());
  const absl::Status refused = slots.Acquire("a", 2).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RefusalReason(refused), kRateLimitExceeded);
  EXPECT_TRUE(RetryAfter(refused).has_value());
  std::optional<RequestSlots::Slot> other(std::move(*slots.Acquire("b", 2)));
  EXPECT_EQ(other->Extend(3).code(), absl::StatusCode::kInvalidArgument) << "never possible";
  first.reset();
  EXPECT_TRUE(slots.Acquire("a", 2).ok());
  EXPECT_EQ(slots.num_taken(), 1u);
}

// Takes slots for `caller` until it is refused, at most `most`. How many it got.
size_t TakeAll(RequestSlots* slots, const std::string& caller, size_t most,
               std::vector<RequestSlots::Slot>* taken) {
  for (size_t count = 0; count < most; ++count) {
    auto slot = slots->Acquire(caller);
    if (!slot.ok()) return count;
    taken->push_back(*std::move(slot));
  }
  return most;
}

TEST(RequestSlots, AnEighthIsForKeysWithFewOfThem) {
  RequestSlots slots(64);
  std::vector<RequestSlots::Slot> taken;
  EXPECT_EQ(TakeAll(&slots, "flood", 100, &taken), 56u);
  EXPECT_EQ(RefusalReason(slots.Acquire("flood").status()), kServerIsOverloaded);
  EXPECT_EQ(TakeAll(&slots, "b", 3, &taken), 3u);
  EXPECT_EQ(TakeAll(&slots, "c", 3, &taken), 3u);
  EXPECT_EQ(TakeAll(&slots, "flood", 100, &taken), 0u);
  EXPECT_EQ(TakeAll(&slots, "d", 100, &taken), 1u) << "each leaves a part of it to others";
  EXPECT_EQ(TakeAll(&slots, "e", 100, &taken), 1u);
  EXPECT_EQ(slots.num_taken(), 64u);
}

TEST(RequestSlots, ASecondKeyThatFloodsLocksOutNoThird) {
  RequestSlots slots(2048);
  std::vector<RequestSlots::Slot> taken;
  EXPECT_EQ(TakeAll(&slots, "a", 3000, &taken), 1792u);
  EXPECT_EQ(TakeAll(&slots, "b", 3000, &taken), 256u - 256u / 3);
  for (const char* key : {"c", "d", "e", "f"}) {
    EXPECT_GE(TakeAll(&slots, key, 3000, &taken), 6u) << key;
  }
  EXPECT_EQ(TakeAll(&slots, "b", 3000, &taken), 0u);
  for (int key = 0; key < 20; ++key) {
    EXPECT_GE(TakeAll(&slots, std::to_string(key), 1, &taken), 1u) << "its first";
  }
}

TEST(RequestSlots, AKeyWithinItsShareGrowsAsTheOthersEnd) {
  RequestSlots slots(64);
  std::vector<RequestSlots::Slot> a, b;
  EXPECT_EQ(TakeAll(&slots, "a", 100, &a), 56u);
  EXPECT_EQ(TakeAll(&slots, "b", 100, &b), 6u);
  for (int i = 0; i < 10; ++i) a.pop_back();
  EXPECT_EQ(TakeAll(&slots, "a", 100, &a), 4u) << "it leaves the eighth";
  EXPECT_EQ(TakeAll(&slots, "b", 100, &b), 6u) << "which b may have the most of";
}

TEST(RequestSlots, WithoutKeysAllMayBeTaken) {
  RequestSlots slots(64);
  std::vector<RequestSlots::Slot> taken;
  EXPECT_EQ(TakeAll(&slots, "", 100, &taken), 64u);
}

TEST(RequestSlots, SaysOfARequestThatNeverFitsBesideTheEighth) {
  RequestSlots slots(64);
  std::optional<RequestSlots::Slot> slot(std::move(*slots.Acquire("a")));
  EXPECT_EQ(slot->Extend(57).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(slot->Extend(56).ok());
}

TEST(RequestSlots, TellsThoseRefusedToComeBackAtDifferentTimes) {
  RequestSlots slots(1);
  const std::optional<RequestSlots::Slot> slot(std::move(*slots.Acquire()));
  std::set<absl::Duration> times;
  for (int i = 0; i < 100; ++i) times.insert(*RetryAfter(slots.Acquire().status()));
  EXPECT_GT(times.size(), 80u);
  EXPECT_GE(*times.begin(), absl::Seconds(1));
  EXPECT_LE(*times.rbegin(), absl::Seconds(3));
}

TEST(RequestSlots, DrainRefusesAndWaitsForTheRest) {
  RequestSlots slots(4);
  std::optional<RequestSlots::Slot> slot(std::move(*slots.Acquire()));
  slots.Drain();
  EXPECT_EQ(RefusalReason(slots.Acquire().status()), "server_is_draining");
  EXPECT_FALSE(slots.CheckOpen().ok());
  EXPECT_FALSE(slots.AwaitIdle(absl::Now()));
  slot.reset();
  EXPECT_TRUE(slots.AwaitIdle(absl::InfiniteFuture()));
}

}  // namespace
}  // namespace baton::gateway
