#include "services/scheduler/core/finish_rule.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

Sequence WithTokens(SequenceRequest request, const std::vector<TokenId>& tokens) {
  request.resumed = tokens;
  return Sequence(std::move(request), 0);
}

TEST(EndingOf, GoesOnWithoutReason) {
  EXPECT_FALSE(EndingOf(WithTokens(MakeRequest(1, 4), {5}), {kEos}, 100).has_value());
  EXPECT_FALSE(EndingOf(WithTokens(MakeRequest(1, 4), {}), {kEos}, 4).has_value());
}

TEST(EndingOf, StopsAtEndOfSequenceWithoutNamingIt) {
  const auto ending = EndingOf(WithTokens(MakeRequest(1, 4), {5, kEos}), {kEos}, 100);
  ASSERT_TRUE(ending.has_value());
  EXPECT_EQ(ending->cause, FinishCause::kStop);
  EXPECT_FALSE(ending->stop_token.has_value());
}

TEST(EndingOf, IgnoresEndOfSequenceWhenAsked) {
  SequenceRequest request = MakeRequest(1, 4);
  request.stop.ignore_eos = true;
  EXPECT_FALSE(EndingOf(WithTokens(request, {kEos}), {kEos}, 100).has_value());
}

TEST(EndingOf, NamesTheStopToken) {
  SequenceRequest request = MakeRequest(1, 4);
  request.stop.stop_token_ids = {9};
  const auto ending = EndingOf(WithTokens(request, {9}), {kEos}, 100);
  ASSERT_TRUE(ending.has_value());
  EXPECT_EQ(ending->stop_token, 9u);
}

TEST(EndingOf, HoldsStopsBackUntilMinTokens) {
  SequenceRequest request = MakeRequest(1, 4);
  request.stop.min_tokens = 3;
  EXPECT_FALSE(EndingOf(WithTokens(request, {5, kEos}), {kEos}, 100).has_value());
  EXPECT_TRUE(EndingOf(WithTokens(request, {5, 6, kEos}), {kEos}, 100).has_value());
}

TEST(EndingOf, EndsAtMaxTokensAndAtTheContextLength) {
  const auto by_max = EndingOf(WithTokens(MakeRequest(1, 4, 2), {5, 6}), {kEos}, 100);
  ASSERT_TRUE(by_max.has_value());
  EXPECT_EQ(by_max->cause, FinishCause::kLength);
  const auto by_context = EndingOf(WithTokens(MakeRequest(1, 4), {5, 6}), {kEos}, 6);
  ASSERT_TRUE(by_context.has_value());
  EXPECT_EQ(by_context->cause, FinishCause::kLength);
}

TEST(EndingOf, PrefersStopToLength) {
  const auto ending = EndingOf(WithTokens(MakeRequest(1, 4, 1), {kEos}), {kEos}, 5);
  ASSERT_TRUE(ending.has_value());
  EXPECT_EQ(ending->cause, FinishCause::kStop);
}

TEST(MayOutlastNextToken, NotAtMaxTokensNorAtTheContextLength) {
  EXPECT_TRUE(MayOutlastNextToken(WithTokens(MakeRequest(1, 4, 3), {5}), 100));
  EXPECT_FALSE(MayOutlastNextToken(WithTokens(MakeRequest(1, 4, 2), {5}), 100));
  EXPECT_FALSE(MayOutlastNextToken(WithTokens(MakeRequest(1, 4, 3), {5}), 6));
}

}  // namespace
}  // namespace baton::scheduler
