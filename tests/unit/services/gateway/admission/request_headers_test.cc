#include "services/gateway/admission/request_headers.h"

#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kMost = absl::Seconds(600);

TEST(RequestHeaders, TimeoutIsInSecondsAndAtMostTheServers) {
  EXPECT_EQ(*ParseRequestTimeout("", kMost), kMost);
  EXPECT_EQ(*ParseRequestTimeout("30", kMost), absl::Seconds(30));
  EXPECT_EQ(*ParseRequestTimeout("0.25", kMost), absl::Milliseconds(250));
  EXPECT_EQ(*ParseRequestTimeout(".5", kMost), absl::Milliseconds(500));
  EXPECT_EQ(*ParseRequestTimeout("86400", kMost), kMost);
  EXPECT_EQ(*ParseRequestTimeout(std::string(400, '9'), kMost), kMost);
}

TEST(RequestHeaders, RefusesTimeoutsThatAreNone) {
  for (const char* wrong :
       {"0", "0.0", "-1", "1s", "1e3", "nan", "inf", "1 ", "1,5", "1.2.3", "."}) {
    const auto parsed = ParseRequestTimeout(wrong, kMost);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_EQ(RefusedField(parsed.status()), kTimeoutHeader);
  }
}

TEST(RequestHeaders, PriorityIsAnInteger) {
  EXPECT_FALSE(ParsePriority("")->has_value());
  EXPECT_EQ(**ParsePriority("-7"), -7);
  for (const char* wrong : {"high", "1.5", "99999999999"}) {
    EXPECT_EQ(RefusedField(ParsePriority(wrong).status()), kPriorityHeader) << wrong;
  }
}

}  // namespace
}  // namespace baton::gateway
