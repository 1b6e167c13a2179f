#include "services/stage_worker/model/draw_rules.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint32_t kThinkEnd = 90;
constexpr uint32_t kThinkBegin = 91;

DrawRow DrawBehind(SamplingSettings settings, std::vector<uint32_t> answer) {
  DrawRow draw;
  draw.sampling = std::make_shared<const SamplingSettings>(std::move(settings));
  draw.answer_tokens = std::move(answer);
  return draw;
}

SamplingSettings Banning(std::vector<std::vector<uint32_t>> sequences) {
  SamplingSettings settings;
  settings.banned_sequences = std::move(sequences);
  return settings;
}

SamplingSettings Thinking(uint32_t num_tokens, std::optional<uint32_t> begin = std::nullopt) {
  SamplingSettings settings;
  settings.reasoning_budget = {num_tokens, kThinkEnd, begin};
  return settings;
}

TEST(DrawRules, ABannedTokenIsBannedAlways) {
  EXPECT_THAT(BannedTokens(DrawBehind(Banning({{7}, {3}, {7}}), {})), ElementsAre(3, 7));
  EXPECT_THAT(BannedTokens(DrawBehind(Banning({{7}}), {1, 2})), ElementsAre(7));
}

TEST(DrawRules, ASequenceIsBannedWhereItWouldBeComplete) {
  const SamplingSettings settings = Banning({{1, 2, 3}, {2, 4}, {5, 1}});
  EXPECT_THAT(BannedTokens(DrawBehind(settings, {})), IsEmpty());
  EXPECT_THAT(BannedTokens(DrawBehind(settings, {2})), ElementsAre(4));
  EXPECT_THAT(BannedTokens(DrawBehind(settings, {1, 2})), ElementsAre(3, 4));
  EXPECT_THAT(BannedTokens(DrawBehind(settings, {1, 2, 9})), IsEmpty());
}

TEST(DrawRules, BannedTokensComeToTheMaskedOnes) {
  SamplingSettings settings = Banning({{7}});
  settings.masked_token_ids = {2};
  DrawRow draw = DrawBehind(settings, {});
  EXPECT_THAT(TokensWithoutBanned(draw, 100).masked, ElementsAre(7));
  draw.masked = true;
  EXPECT_THAT(TokensWithoutBanned(draw, 100).masked, ElementsAre(2, 7));
}

TEST(DrawRules, BannedTokensGiveWayToTheLastOneLeft) {
  SamplingSettings settings = Banning({{7}, {8}});
  settings.allowed_token_ids = {7, 8, 9};
  EXPECT_THAT(TokensWithoutBanned(DrawBehind(settings, {}), 100).masked, ElementsAre(7, 8));
  settings.masked_token_ids = {9};
  DrawRow draw = DrawBehind(settings, {});
  draw.masked = true;
  EXPECT_THAT(TokensWithoutBanned(draw, 100).allowed, ElementsAre(7, 8, 9));
  EXPECT_THAT(TokensWithoutBanned(draw, 100).masked, ElementsAre(9));
  EXPECT_THAT(TokensWithoutBanned(DrawBehind(Banning({{0}, {1}}), {}), 2).masked, IsEmpty());
  EXPECT_THAT(TokensWithoutBanned(DrawBehind(Banning({{0}, {1}}), {}), 3).masked,
              ElementsAre(0, 1));
}

TEST(DrawRules, TheReasoningEndsWhenItsBudgetIsUsedUp) {
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {5})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {5, 6})), kThinkEnd);
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(0), {})), kThinkEnd);
  // Whatever came behind, it is ended.
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {5, 6, 7})), kThinkEnd);
}

TEST(DrawRules, BehindTheReasoningThereIsNoBudget) {
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {5, 6, kThinkEnd})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(Thinking(2), {kThinkEnd, 6, 7, 8})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(SamplingSettings{}, {1, 2, 3})), std::nullopt);
}

TEST(DrawRules, TheBudgetCountsFromTheBeginOfTheReasoning) {
  const SamplingSettings settings = Thinking(1, kThinkBegin);
  EXPECT_EQ(ForcedToken(DrawBehind(settings, {5, 6, 7})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(settings, {5, kThinkBegin})), std::nullopt);
  EXPECT_EQ(ForcedToken(DrawBehind(settings, {5, kThinkBegin, 6})), kThinkEnd);
  EXPECT_EQ(ForcedToken(DrawBehind(settings, {5, kThinkBegin, 6, kThinkEnd, 9})), std::nullopt);
  // An end before the begin is none.
  EXPECT_EQ(ForcedToken(DrawBehind(settings, {kThinkEnd, kThinkBegin, 6})), kThinkEnd);
}

}  // namespace
}  // namespace baton::stage
