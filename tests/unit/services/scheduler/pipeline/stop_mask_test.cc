#include "services/scheduler/pipeline/stop_mask.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kFewTokens = 10;

v1::StopParams Stop(uint32_t min_tokens, std::vector<uint32_t> stop_token_ids) {
  v1::StopParams stop;
  stop.set_min_tokens(min_tokens);
  stop.mutable_stop_token_ids()->Add(stop_token_ids.begin(), stop_token_ids.end());
  return stop;
}

TEST(FillStopMask, MasksEndAndStopTokensOfTheVocabularyOnce) {
  v1::SamplingParams sampling;
  ASSERT_TRUE(FillStopMask(Stop(3, {7, 1, 7, 10, 99}), {5, 1}, kFewTokens, &sampling).ok());
  EXPECT_EQ(sampling.min_tokens(), 3u);
  EXPECT_THAT(sampling.masked_token_ids(), ElementsAre(1, 5, 7));
}

TEST(FillStopMask, MasksEndTokensThatAreIgnored) {
  v1::SamplingParams sampling;
  v1::StopParams stop = Stop(3, {});
  stop.set_ignore_eos(true);
  ASSERT_TRUE(FillStopMask(stop, {5}, kFewTokens, &sampling).ok());
  EXPECT_THAT(sampling.masked_token_ids(), ElementsAre(5));
}

TEST(FillStopMask, ReplacesWhatTheCallerPutThere) {
  v1::SamplingParams sampling;
  sampling.set_min_tokens(9);
  sampling.add_masked_token_ids(4);
  ASSERT_TRUE(FillStopMask(Stop(0, {7}), {5}, kFewTokens, &sampling).ok());
  EXPECT_EQ(sampling.min_tokens(), 0u);
  EXPECT_THAT(sampling.masked_token_ids(), IsEmpty());
}

TEST(FillStopMask, RefusesToMaskAllThatMayBeDrawn) {
  v1::SamplingParams sampling;
  sampling.add_allowed_token_ids(5);
  sampling.add_allowed_token_ids(7);
  const absl::Status status = FillStopMask(Stop(2, {7}), {5}, kFewTokens, &sampling);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("min_tokens is 2"));
  sampling.add_allowed_token_ids(8);
  EXPECT_TRUE(FillStopMask(Stop(2, {7}), {5}, kFewTokens, &sampling).ok());
  sampling.clear_allowed_token_ids();
  EXPECT_FALSE(FillStopMask(Stop(2, {0, 1, 2, 3, 4, 6, 7, 8, 9}), {5}, kFewTokens, &sampling).ok());
}

}  // namespace
}  // namespace baton::scheduler
