#include "services/stage_worker/model/output_head.h"

#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/structured_output/constraint.h"
#include "common/structured_output/vocabulary_trie.h"
#include "services/stage_worker/model/compiled_constraints.h"
#include "services/stage_worker/model/draw_constraints.h"
#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

constexpr int32_t kRows = 150;  // more than are computed at a time

class OutputHeadTest : public testing::Test {
 protected:
  OutputHeadTest() : device_(2), head_(&device_.context(), &device_.weights()) {
    for (int64_t row = 0; row < kRows; ++row) {
      float* values = device_.workspace().residual.Row<float>(row);
      for (int64_t i = 0; i < device_.workspace().residual.columns; ++i) {
        values[i] = std::cos(static_cast<float>(13 * row + 7 * i));
      }
    }
  }
  static DrawRow Draw(int32_t row, std::shared_ptr<const SamplingSettings> sampling) {
    DrawRow draw;
    draw.row = row;
    draw.sequence_id = static_cast<uint64_t>(row);
    draw.position = 10;
    draw.sampling = std::move(sampling);
    return draw;
  }
  // Settings of a text that must be `choice`.
  static std::shared_ptr<SamplingSettings> OnlyChoice(const std::string& choice) {
    auto structured = std::make_shared<StructuredSettings>();
    structured->constraint.kind = structured::ConstraintKind::kChoice;
    structured->constraint.choices = {choice};
    structured->end_token_ids = {2};
    auto sampling = std::make_shared<SamplingSettings>();
    sampling->structured = std::move(structured);
    return sampling;
  }
  // Draws with constraints, for which the tokens 0 and 1 are "a" and "b".
  StepOutput RunConstrained(DrawConstraints& constraints, const StepBatch& batch) {
    DeviceContext context = device_.context();
    context.constraints = &constraints;
    return OutputHead(&context, &device_.weights()).Run(batch);
  }
  void SetLetters(DrawConstraints& constraints) {
    constraints.SetVocabulary(std::make_shared<const structured::VocabularyTrie>(
        std::vector<std::string>{"a", "b"},
        static_cast<size_t>(device_.context().config->vocab_size)));
  }

  fakes::ToyDevice device_;
  OutputHead head_;
};

// 50 sequences with two drafts each: more rows than are computed at a time.
TEST_F(OutputHeadTest, DrawsBehindADraftOnlyIfItWasDrawn) {
  auto sampling = std::make_shared<SamplingSettings>();
  sampling->temperature = 1.0f;
  sampling->seed = 3;
  StepBatch plain;
  for (int32_t row = 0; row < kRows; ++row) {
    plain.draws.push_back(Draw(row, sampling));
    plain.draws.back().position = 10 + static_cast<uint32_t>(row) % 3;
  }
  const std::vector<DrawnToken> tokens = head_.Run(plain).tokens;
  ASSERT_EQ(tokens.size(), static_cast<size_t>(kRows));
  StepBatch drafted = plain;
  std::vector<DrawnToken> expected;
  for (size_t i = 0; i < drafted.draws.size(); ++i) {
    DrawRow& draw = drafted.draws[i];
    const size_t sequence = i / 3;
    draw.sequence_id = sequence;
    draw.depth = static_cast<uint32_t>(i % 3);
    // Of sequence 0, 4, ... no draft is right, of 1, 5, ... the first, else both.
    const bool wrong = sequence % 4 == draw.depth;
    if (draw.depth < 2) draw.draft = tokens[i].token_id + (wrong ? 1 : 0);
    if (draw.depth <= sequence % 4) expected.push_back(tokens[i]);
  }
  const std::vector<DrawnToken> counted = head_.Run(drafted).tokens;
  ASSERT_EQ(counted.size(), expected.size());
  for (size_t i = 0; i < counted.size(); ++i) {
    EXPECT_EQ(counted[i].sequence_id, expected[i].sequence_id / 3);
    EXPECT_EQ(counted[i].position, expected[i].position);
    EXPECT_EQ(counted[i].token_id, expected[i].token_id);
  }
}

TEST_F(OutputHeadTest, LeavesARowThatCannotBeDrawnBehindADraftToTheNextStep) {
  auto sampling = std::make_shared<SamplingSettings>();
  const uint32_t token = [&] {
    StepBatch first;
    first.draws.push_back(Draw(0, sampling));
    return head_.Run(first).tokens[0].token_id;
  }();
  device_.workspace().residual.Row<float>(1)[0] = std::nanf("");
  StepBatch batch;
  for (int32_t row : {0, 1}) {
    batch.draws.push_back(Draw(row, sampling));
    batch.draws.back().sequence_id = 7;
    batch.draws.back().depth = static_cast<uint32_t>(row);
  }
  batch.draws[0].draft = token;
  const StepOutput output = head_.Run(batch);
  ASSERT_EQ(output.tokens.size(), 1u);
  EXPECT_EQ(output.tokens[0].token_id, token);
  EXPECT_TRUE(output.failures.empty());
}

TEST_F(OutputHeadTest, DrawsTheSameForARowAloneAndAmongMany) {
  auto sampling = std::make_shared<SamplingSettings>();
  sampling->temperature = 1.0f;
  sampling->seed = 11;
  sampling->logprobs = true;
  sampling->num_top_logprobs = 2;
  StepBatch all;
  for (int32_t row = kRows - 1; row >= 0; --row) all.draws.push_back(Draw(row, sampling));
  const StepOutput many = head_.Run(all);
  ASSERT_EQ(many.tokens.size(), static_cast<size_t>(kRows));
  for (int32_t row : {0, 21, 22, kRows - 1}) {
    StepBatch single;
    single.draws.push_back(Draw(row, sampling));
    const StepOutput alone = head_.Run(single);
    const DrawnToken& expected = many.tokens[static_cast<size_t>(kRows - 1 - row)];
    EXPECT_EQ(expected.sequence_id, static_cast<uint64_t>(row));
    EXPECT_EQ(alone.tokens[0].token_id, expected.token_id);
    EXPECT_EQ(alone.tokens[0].logprobs->token.logprob, expected.logprobs->token.logprob);
    EXPECT_EQ(alone.tokens[0].logprobs->top.size(), 2u);
  }
}

TEST_F(OutputHeadTest, ScoresALongPromptInOrder) {
  StepBatch batch;
  ScoreRows scores;
  scores.sequence_id = 4;
  scores.position_begin = 1;
  scores.num_top = 1;
  for (uint32_t i = 0; i < kRows; ++i) scores.targets.push_back(i % 60);
  batch.prompt_scores.push_back(scores);
  const StepOutput output = head_.Run(batch);
  ASSERT_EQ(output.prompt_scores.size(), 1u);
  ASSERT_EQ(output.prompt_scores[0].positions.size(), static_cast<size_t>(kRows));
  for (uint32_t i = 0; i < kRows; ++i) {
    const PositionScores& position = output.prompt_scores[0].positions[i];
    EXPECT_EQ(position.token.token_id, i % 60);
    EXPECT_GE(position.top[0].logprob, position.token.logprob);
    EXPECT_LE(position.top[0].logprob, 0.0f);
  }
}

TEST_F(OutputHeadTest, LeavesLogprobsOutUnlessAsked) {
  StepBatch batch;
  batch.draws.push_back(Draw(3, std::make_shared<SamplingSettings>()));
  const StepOutput output = head_.Run(batch);
  ASSERT_EQ(output.tokens.size(), 1u);
  EXPECT_FALSE(output.tokens[0].logprobs.has_value());
}

TEST_F(OutputHeadTest, DrawsAnotherTokenWhereTheBestIsMasked) {
  StepBatch batch;
  batch.draws.push_back(Draw(3, std::make_shared<SamplingSettings>()));
  const uint32_t best = head_.Run(batch).tokens[0].token_id;
  auto sampling = std::make_shared<SamplingSettings>();
  sampling->masked_token_ids = {best};
  batch.draws[0].sampling = sampling;
  EXPECT_EQ(head_.Run(batch).tokens[0].token_id, best) << "not masked at this position";
  batch.draws[0].masked = true;
  EXPECT_NE(head_.Run(batch).tokens[0].token_id, best);
}

TEST_F(OutputHeadTest, FailsTheRowThatIsNotFinite) {
  device_.workspace().residual.Row<float>(5)[0] = std::nanf("");
  const auto sampling = std::make_shared<SamplingSettings>();
  StepBatch batch;
  for (int32_t row : {4, 5, 6}) batch.draws.push_back(Draw(row, sampling));
  const StepOutput output = head_.Run(batch);
  ASSERT_EQ(output.failures.size(), 1u);
  EXPECT_EQ(output.failures[0].sequence_id, 5u);
  EXPECT_EQ(output.tokens.size(), 2u);
}

TEST_F(OutputHeadTest, ARequestsFaultDoesNotHideThatTheRowIsNotFinite) {
  DrawConstraints constraints;
  SetLetters(constraints);
  const auto sampling = OnlyChoice("ab");
  sampling->allowed_token_ids = {1};  // "b" cannot come first
  StepBatch batch;
  for (int32_t row : {4, 5}) batch.draws.push_back(Draw(row, sampling));
  device_.workspace().residual.Row<float>(5)[0] = std::nanf("");
  const StepOutput output = RunConstrained(constraints, batch);
  ASSERT_EQ(output.failures.size(), 2u);
  EXPECT_TRUE(output.failures[0].caused_by_request);
  EXPECT_FALSE(output.failures[1].caused_by_request);
  EXPECT_THAT(output.failures[1].message, testing::HasSubstr("not finite"));
  EXPECT_TRUE(output.tokens.empty());
}

TEST_F(OutputHeadTest, WaitsForConstraintsSoLongInEachStep) {
  std::chrono::steady_clock::time_point now;
  ConstraintOptions options;
  options.now = [&now] { return now; };
  options.compile = [&now](const structured::Constraint& constraint) {
    now += CompiledConstraints::kMostStepWait;
    return structured::CompileConstraint(constraint);
  };
  DrawConstraints constraints(options);
  SetLetters(constraints);
  for (size_t step = 0; step < 2; ++step) {
    StepBatch batch;
    for (int32_t row : {4, 5}) {
      const size_t length = 10 * (step + 1) + static_cast<size_t>(row);
      batch.draws.push_back(Draw(row, OnlyChoice(std::string(length, 'a'))));
    }
    const StepOutput output = RunConstrained(constraints, batch);
    EXPECT_EQ(output.tokens.size(), 1u);
    ASSERT_EQ(output.failures.size(), 1u);
    EXPECT_TRUE(output.failures[0].overloaded);
  }
}

TEST_F(OutputHeadTest, ToldApartIsARequestThatOthersLeaveNoRoomFor) {
  constexpr size_t kLetters = 30'000;  // two of them do not fit beside each other
  ConstraintOptions options;
  options.capacity_bytes = size_t{4} << 20;
  options.now = [] { return std::chrono::steady_clock::time_point(); };
  DrawConstraints constraints(options);
  SetLetters(constraints);
  StepBatch batch;
  for (int32_t row : {4, 5}) {
    const size_t length = kLetters + static_cast<size_t>(row);
    batch.draws.push_back(Draw(row, OnlyChoice(std::string(length, 'a'))));
  }
  const StepOutput output = RunConstrained(constraints, batch);
  EXPECT_EQ(output.tokens.size(), 1u);
  ASSERT_EQ(output.failures.size(), 1u);
  EXPECT_EQ(output.failures[0].sequence_id, 5u);
  EXPECT_TRUE(output.failures[0].overloaded);
  EXPECT_FALSE(output.failures[0].caused_by_request);
  EXPECT_THAT(output.failures[0].message, testing::HasSubstr("try again later"));
}

}  // namespace
}  // namespace baton::stage
