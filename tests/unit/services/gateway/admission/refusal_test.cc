#include "services/gateway/admission/refusal.h"

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

TEST(Refusal, APlainStatusHasNone) {
  const absl::Status status = absl::InternalError("x");
  EXPECT_EQ(RefusedField(status), "");
  EXPECT_EQ(RefusalReason(status), "");
  EXPECT_FALSE(RetryAfter(status).has_value());
}

}  // namespace
}  // namespace baton::gateway
