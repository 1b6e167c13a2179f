#include "services/stage_worker/membership/membership_events.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using Kind = MembershipEvent::Kind;

TEST(MembershipEvents, ComeInOrderAndEndWithTheStream) {
  MembershipEvents events(4);
  EXPECT_TRUE(events.TryPush({.kind = Kind::kPlan}));
  events.PushClosed(absl::UnavailableError("gone"));
  EXPECT_TRUE(events.TryPush({.kind = Kind::kFault}));
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kPlan);
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kFault);
  const auto closed = events.Pop(absl::InfiniteFuture());
  EXPECT_EQ(closed->kind, Kind::kClosed);
  EXPECT_EQ(closed->status.message(), "gone");
  EXPECT_FALSE(events.Pop(absl::Now()).has_value());
}

TEST(MembershipEvents, KeepTheEndOfTheStreamAndStopWhenFull) {
  MembershipEvents events(2);
  EXPECT_TRUE(events.TryPush({.kind = Kind::kPlan}));
  EXPECT_TRUE(events.TryPush({.kind = Kind::kTopology}));
  EXPECT_FALSE(events.TryPush({.kind = Kind::kFault}));
  events.PushClosed(absl::OkStatus());
  events.PushStop();
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kStop);
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kPlan);
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kTopology);
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kClosed);
}

TEST(MembershipEvents, ForgetASessionButNotStop) {
  MembershipEvents events(2);
  events.TryPush({.kind = Kind::kPlan});
  events.PushClosed(absl::OkStatus());
  events.PushStop();
  events.EndSession();
  EXPECT_EQ(events.Pop(absl::InfiniteFuture())->kind, Kind::kStop);
  EXPECT_FALSE(events.Pop(absl::Now()).has_value());
}

}  // namespace
}  // namespace baton::stage
