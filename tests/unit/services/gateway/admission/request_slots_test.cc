#include "services/gateway/admission/request_slots.h"

#include <optional>
#include <utility>

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
