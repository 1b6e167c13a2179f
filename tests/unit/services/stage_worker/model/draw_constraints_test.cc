#include "services/stage_worker/model/draw_constraints.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/services/stage_worker/model/draw_constraints_fixture.h"

namespace baton::stage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(DrawConstraintsTest, FollowsTheAnswer) {
  DrawRow draw = Row(Choosing({"ab", "ac"}));
  EXPECT_THAT(AllowedAt(draw), ElementsAre('a'));
  draw.answer_tokens = {'a'};
  EXPECT_THAT(AllowedAt(draw), ElementsAre('b', 'c'));
  draw.answer_tokens = {'a', 'c'};
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
  draw.answer_tokens = {'a', 'c', kEnd};  // ignore_eos: still nothing else
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
  EXPECT_EQ(constraints_.num_compiled(), 1u);
}

TEST_F(DrawConstraintsTest, ASequenceThatComesBackIsWhereItsTokensSay) {
  AllowedAt(Row(Choosing({"ab", "ac"}), {'a', 'b'}));
  EXPECT_THAT(AllowedAt(Row(Choosing({"xyz"}), {'x', 'y'})), ElementsAre('z'));
  EXPECT_THAT(AllowedAt(Row(Choosing({"ab", "ac"}), {'a'})), ElementsAre('b', 'c'));
  EXPECT_EQ(constraints_.num_sequences(), 1u);
}

TEST_F(DrawConstraintsTest, ForgetsSequencesThatNobodyKnows) {
  for (uint64_t id = 0; id < 1000; ++id) {
    DrawRow draw = Row(Choosing({"ab"}));
    draw.sequence_id = id;
    AllowedAt(draw);
  }
  EXPECT_LT(constraints_.num_sequences(), 100u);
}

TEST_F(DrawConstraintsTest, AllowsTheSameWhenItWasCompiledAhead) {
  const std::vector<std::vector<uint32_t>> answers = {{}, {'a'}, {'a', 'c'}};
  const SamplingSettings settings = Choosing({"ab", "ac"});
  DrawConstraints other;
  other.SetVocabulary(MakeBytes());
  other.Prepare(settings);
  for (const std::vector<uint32_t>& answer : answers) {
    const DrawRow draw = Row(settings, answer);
    EXPECT_EQ(other.TokensFor(draw)->allowed, AllowedAt(draw));
  }
  EXPECT_EQ(other.num_compiled(), 1u);
}

TEST_F(DrawConstraintsTest, BeginsBehindTheReasoning) {
  SamplingSettings settings = Choosing({"ab"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->begin_after_token_id = kThink;
  settings.structured = structured;
  DrawRow draw = Row(settings);
  // Anything but the end.
  EXPECT_THAT(constraints_.TokensFor(draw)->masked, ElementsAre(kEnd));
  draw.answer_tokens = {'q', 300};
  EXPECT_THAT(constraints_.TokensFor(draw)->masked, ElementsAre(kEnd));
  draw.answer_tokens.push_back(kThink);
  EXPECT_THAT(AllowedAt(draw), ElementsAre('a'));
  draw.answer_tokens.push_back('a');
  EXPECT_THAT(AllowedAt(draw), ElementsAre('b'));
}

TEST_F(DrawConstraintsTest, ManyTokensAreListedByWhatIsNotAllowed) {
  SamplingSettings settings = Choosing({"x"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->constraint = {.kind = structured::ConstraintKind::kRegex, .text = "[^b]*"};
  settings.structured = structured;
  const auto tokens = constraints_.TokensFor(Row(settings));
  EXPECT_TRUE(tokens->allowed.empty());
  EXPECT_THAT(tokens->masked, testing::Contains('b'));
  EXPECT_THAT(tokens->masked, testing::Contains(kThink));
  EXPECT_THAT(tokens->masked, testing::Not(testing::Contains('a')));
  EXPECT_THAT(tokens->masked, testing::Not(testing::Contains(kEnd)));
}

// Few and many of either kind. The end is never allowed: the reasoning goes on.
TEST_F(DrawConstraintsTest, ListsExactlyWhatIsLeft) {
  SamplingSettings settings = Choosing({"x"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->begin_after_token_id = kThink;
  settings.structured = structured;
  const auto all = [](uint32_t token) { return true; };
  const auto most = [](uint32_t token) { return token % 3 != 0; };
  const auto some = [](uint32_t token) { return token % 2 == 0; };
  const auto few = [](uint32_t token) { return token % 64 == 63; };
  for (bool (*const is_allowed)(uint32_t) : {+all, +most, +some, +few}) {
    settings.allowed_token_ids.clear();
    std::vector<uint32_t> allowed;
    std::vector<uint32_t> others;
    for (uint32_t token = 0; token < kVocabSize; ++token) {
      if (is_allowed(token)) settings.allowed_token_ids.push_back(token);
      (is_allowed(token) && token != kEnd ? allowed : others).push_back(token);
    }
    const auto tokens = constraints_.TokensFor(Row(settings));
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_EQ(tokens->allowed, allowed.size() > 2048 ? std::vector<uint32_t>() : allowed);
    EXPECT_EQ(tokens->masked, allowed.size() > 2048 ? others : std::vector<uint32_t>());
  }
}

TEST_F(DrawConstraintsTest, GoesTogetherWithOtherSets) {
  SamplingSettings settings = Choosing({"ab", "ac", "a"});
  settings.allowed_token_ids = {'a', 'c', 'x', kEnd};
  settings.masked_token_ids = {kEnd};
  DrawRow draw = Row(settings, {'a'});
  EXPECT_THAT(AllowedAt(draw), ElementsAre('c', kEnd));
  draw.masked = true;
  EXPECT_THAT(AllowedAt(draw), ElementsAre('c'));
  draw.answer_tokens = {'a', 'c'};  // nothing but the end is left: it may come
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
}

TEST_F(DrawConstraintsTest, BannedTokensGiveWayToTheLastOneLeft) {
  SamplingSettings settings = Choosing({"ab", "ac"});
  settings.banned_sequences = {{'a'}, {'a', 'c'}};
  EXPECT_THAT(AllowedAt(Row(settings)), ElementsAre('a'));
  EXPECT_THAT(AllowedAt(Row(settings, {'a'})), ElementsAre('b'));
}

TEST_F(DrawConstraintsTest, SaysWhyASequenceCannotGoOn) {
  SamplingSettings settings = Choosing({"ab"});
  settings.allowed_token_ids = {'x'};
  const auto expect = [this](const DrawRow& draw, absl::StatusCode code, const char* why) {
    const absl::Status status = constraints_.TokensFor(draw).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(status.message(), HasSubstr(why));
  };
  // Of these the request's caller can do something about.
  expect(Row(settings), absl::StatusCode::kInvalidArgument, "none of allowed_token_ids");
  expect(Row(Choosing({""})), absl::StatusCode::kInvalidArgument, "a choice is empty");
  expect(Row(Choosing({"ab"}), {'x'}), absl::StatusCode::kInternal, "does not keep to it");
  constraints_.SetVocabulary(nullptr);
  expect(Row(Choosing({"ab"})), absl::StatusCode::kFailedPrecondition, "no tokenizer.json");
}

}  // namespace
}  // namespace baton::stage
