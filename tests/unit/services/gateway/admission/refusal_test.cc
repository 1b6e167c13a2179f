#include "services/gateway/admission/refusal.h"

#include <set>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(Refusal, CarriesFieldReasonAndDelay) {
  absl::Status status = InvalidField("top_p", "is wrong");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "top_p is wrong");
  status = WithRetryAfter(WithReason(status, "why"), absl::Milliseconds(1500));
  EXPECT_EQ(RefusedField(status), "top_p");
  EXPECT_EQ(RefusalReason(status), "why");
  EXPECT_EQ(RetryAfter(status), absl::Milliseconds(1500));
}

TEST(Refusal, SpreadsTheTimesOfThoseWhoAreRefusedTogether) {
  std::set<absl::Duration> short_times, long_times;
  for (int i = 0; i < 1000; ++i) {
    short_times.insert(SpreadRetry(absl::Seconds(1)));
    long_times.insert(SpreadRetry(absl::Seconds(20)));
  }
  EXPECT_GE(*short_times.begin(), absl::Seconds(1));
  EXPECT_LE(*short_times.rbegin(), absl::Seconds(3));
  EXPECT_GT(*short_times.rbegin() - *short_times.begin(), absl::Milliseconds(1500))
      << "whole seconds, rounded up, differ too";
  EXPECT_GE(*long_times.begin(), absl::Seconds(20));
  EXPECT_LE(*long_times.rbegin(), absl::Seconds(40));
  EXPECT_GT(*long_times.rbegin() - *long_times.begin(), absl::Seconds(15));
}

TEST(Refusal, APlainStatusHasNone) {
  const absl::Status status = absl::InternalError("x");
  EXPECT_EQ(RefusedField(status), "");
  EXPECT_EQ(RefusalReason(status), "");
  EXPECT_FALSE(RetryAfter(status).has_value());
}

}  // namespace
}  // namespace baton::gateway
