#include "services/gateway/admission/rate_limits.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

const absl::Time kStart = absl::UnixEpoch();

ApiCaller Limited(const std::string& name, uint32_t requests, uint32_t tokens) {
  return {.name = name, .limits = {.requests_per_minute = requests, .tokens_per_minute = tokens}};
}

TEST(RateLimits, LeavesAloneWhoHasNone) {
  RateLimits limits;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limits.TakeRequest({}, kStart).ok());
  EXPECT_TRUE(limits.TakePrompt({}, 1 << 30, kStart).ok());
  EXPECT_TRUE(limits.Headers({}, kStart).empty());
}

TEST(RateLimits, RefusesRequestsUntilTheNextIsFree) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 6, 0);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(limits.TakeRequest(caller, kStart).ok());
  const absl::Status refused = limits.TakeRequest(caller, kStart + absl::Seconds(4));
  EXPECT_EQ(RefusalReason(refused), kRateLimitExceeded);
  EXPECT_NEAR(absl::ToDoubleSeconds(*RetryAfter(refused)), 6, 0.001);
  EXPECT_TRUE(limits.TakeRequest(Limited("b", 6, 0), kStart).ok()) << "keys do not share";
  EXPECT_TRUE(limits.TakeRequest(caller, kStart + absl::Seconds(11)).ok());
  EXPECT_FALSE(limits.TakeRequest(caller, kStart + absl::Seconds(12)).ok());
  // A minute's worth and no more is saved.
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(limits.TakeRequest(caller, kStart + absl::Hours(1)).ok());
  }
  EXPECT_FALSE(limits.TakeRequest(caller, kStart + absl::Hours(1)).ok());
}

TEST(RateLimits, TextRequestsNeedNoTokensAndAreCountedApart) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 2, 10);
  limits.ChargeAnswer(caller, 100, kStart);
  EXPECT_FALSE(limits.TakeRequest(caller, kStart).ok());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(limits.TakeTextRequest(caller, kStart).ok()) << i;
  const absl::Status refused = limits.TakeTextRequest(caller, kStart);
  EXPECT_EQ(RefusalReason(refused), kRateLimitExceeded);
  EXPECT_NEAR(absl::ToDoubleSeconds(*RetryAfter(refused)), 3, 0.001);
  const ApiCaller rich = Limited("a", 2, 0);
  EXPECT_TRUE(limits.TakeRequest(rich, kStart).ok());
  EXPECT_TRUE(limits.TakeRequest(rich, kStart).ok());
  EXPECT_FALSE(limits.TakeRequest(rich, kStart).ok());
}

TEST(RateLimits, TextRequestsThatTheKeyIsNotToBlameForAreGivenBack) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 1, 0);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(limits.TakeTextRequest(caller, kStart).ok());
  limits.GiveBackTextRequest(caller, absl::InvalidArgumentError("wrong"), kStart);
  EXPECT_FALSE(limits.TakeTextRequest(caller, kStart).ok());
  limits.GiveBackTextRequest(caller, absl::UnavailableError("stops"), kStart);
  EXPECT_TRUE(limits.TakeTextRequest(caller, kStart).ok());
  EXPECT_FALSE(limits.TakeTextRequest(caller, kStart).ok());
  EXPECT_EQ(limits.num_keys(), 1u);
  EXPECT_TRUE(limits.TakeRequest(Limited("b", 1, 0), kStart + absl::Seconds(61)).ok());
  EXPECT_EQ(limits.num_keys(), 1u) << "who has them all again is forgotten";
}

TEST(RateLimits, AsManyTextRequestsAsANumberHoldsAreNoneTooMany) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", UINT32_MAX, 0);
  EXPECT_TRUE(limits.TakeTextRequest(caller, kStart).ok());
  const auto headers = limits.Headers(caller, kStart, RateLimits::RequestKind::kText);
  EXPECT_THAT(headers,
              testing::Contains(testing::Pair("x-ratelimit-limit-requests", "4294967295")));
}

TEST(RateLimits, ForgetsKeysThatHaveEverythingLeft) {
  RateLimits limits;
  const ApiCaller debtor = Limited("debtor", 0, 10);
  limits.ChargeAnswer(debtor, 100, kStart);
  for (int minute = 0; minute < 20; ++minute) {  // a file whose keys change all the time
    for (int i = 0; i < 10; ++i) {
      const ApiCaller caller = Limited(absl::StrCat("key-", minute, "-", i), 6, 0);
      EXPECT_TRUE(limits.TakeRequest(caller, kStart + absl::Minutes(minute)).ok());
    }
    EXPECT_LE(limits.num_keys(), 31u) << minute;
    EXPECT_EQ(limits.TakeRequest(debtor, kStart + absl::Minutes(minute)).ok(), minute >= 10)
        << minute << ": a debt is not forgotten";
  }
}

TEST(RateLimits, GivesBackWhatTheKeyIsNotToBlameFor) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 1, 100);
  const auto take = [&] {
    return limits.TakeRequest(caller, kStart).ok() && limits.TakePrompt(caller, 100, kStart).ok();
  };
  ASSERT_TRUE(take());
  for (const absl::Status& ours :
       {absl::UnavailableError("no group"), absl::FailedPreconditionError("another model"),
        WithReason(absl::ResourceExhaustedError("the queue is full"), "queue_full")}) {
    limits.GiveBack(caller, 100, ours, kStart);
    EXPECT_TRUE(take()) << ours;
  }
  for (const absl::Status& its :
       {absl::OkStatus(), absl::CancelledError("gone"), absl::InvalidArgumentError("wrong"),
        WithReason(absl::ResourceExhaustedError("too many"), kRateLimitExceeded)}) {
    limits.GiveBack(caller, 100, its, kStart);
    EXPECT_FALSE(take()) << its;
  }
  // No more than a minute's worth.
  limits.GiveBack(caller, 1000, absl::UnavailableError("no group"), kStart);
  limits.GiveBack(caller, 1000, absl::UnavailableError("no group"), kStart);
  EXPECT_TRUE(take());
  EXPECT_FALSE(take());
}

TEST(RateLimits, NoTimeIsCreditedTwice) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 6, 0);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(limits.TakeRequest(caller, kStart).ok());
  ASSERT_TRUE(limits.TakeRequest(caller, kStart + absl::Seconds(10)).ok());
  EXPECT_FALSE(limits.TakeRequest(caller, kStart).ok()) << "one that came earlier";
  EXPECT_FALSE(limits.TakeRequest(caller, kStart + absl::Seconds(10)).ok());
}

TEST(RateLimits, AnswersMayCauseDebtThatIsPaidFirst) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 0, 600);
  ASSERT_TRUE(limits.TakeRequest(caller, kStart).ok());
  ASSERT_TRUE(limits.TakePrompt(caller, 100, kStart).ok());
  limits.ChargeAnswer(caller, 1100, kStart);
  const absl::Status refused = limits.TakeRequest(caller, kStart + absl::Seconds(59));
  EXPECT_EQ(RefusalReason(refused), kRateLimitExceeded);
  EXPECT_TRUE(limits.TakeRequest(caller, kStart + absl::Seconds(61)).ok());
  EXPECT_FALSE(limits.TakePrompt(caller, 100, kStart + absl::Seconds(61)).ok());
}

TEST(RateLimits, APromptOfMoreThanAMinuteNeedsAFullBucket) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 0, 600);
  ASSERT_TRUE(limits.TakePrompt(caller, 1, kStart).ok());
  EXPECT_FALSE(limits.TakePrompt(caller, 5000, kStart).ok());
  EXPECT_TRUE(limits.TakePrompt(caller, 5000, kStart + absl::Minutes(1)).ok());
}

TEST(RateLimits, HeadersSayWhatIsLeft) {
  RateLimits limits;
  const ApiCaller caller = Limited("a", 60, 600);
  ASSERT_TRUE(limits.TakeRequest(caller, kStart).ok());
  const absl::Time later = kStart + absl::Seconds(2);
  ASSERT_TRUE(limits.TakePrompt(caller, 700, later).ok());
  std::map<std::string, std::string> headers;
  for (auto& [name, value] : limits.Headers(caller, later)) {
    headers[name] = value;
  }
  EXPECT_EQ(headers["x-ratelimit-limit-requests"], "60");
  EXPECT_EQ(headers["x-ratelimit-remaining-requests"], "60");
  EXPECT_EQ(headers["x-ratelimit-reset-requests"], "0");
  EXPECT_EQ(headers["x-ratelimit-remaining-tokens"], "0");
  EXPECT_EQ(headers["x-ratelimit-reset-tokens"], "1m10s");
}

}  // namespace
}  // namespace baton::gateway
