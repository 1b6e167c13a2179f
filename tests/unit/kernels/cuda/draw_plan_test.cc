#include "kernels/cuda/plan/draw_plan.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

TEST(DrawPlan, NamesEachTokenOnceWithAllItsChanges) {
  const std::vector<uint32_t> prompt = {5, 9, 5};
  const std::vector<uint32_t> answer = {9, 2, 9};
  const std::vector<TokenBias> biases = {{7, 1.0f}, {2, 0.5f}, {7, -3.0f}};
  SamplingRow row;
  row.repetition_penalty = 1.3f;
  row.frequency_penalty = 0.5f;
  row.prompt_tokens = prompt;
  row.answer_tokens = answer;
  row.logit_bias = biases;
  const DrawPlan plan = PlanDraws({&row, 1}, 100);
  ASSERT_EQ(plan.edits.size(), 4u);
  std::vector<uint32_t> ids;
  for (const DrawEdit& edit : plan.edits) ids.push_back(edit.token_id);
  EXPECT_EQ(ids, (std::vector<uint32_t>{2, 5, 7, 9}));
  EXPECT_EQ(plan.edits[0].answer_count, 1);
  EXPECT_EQ(plan.edits[1].was_seen, 1);
  EXPECT_EQ(plan.edits[1].answer_count, 0);
  EXPECT_EQ(plan.edits[2].was_seen, 0);
  EXPECT_EQ(plan.edits[3].answer_count, 2);
  // Both biases of token 7, in the order given.
  ASSERT_EQ(plan.edits[2].bias_end - plan.edits[2].bias_begin, 2);
  EXPECT_EQ(plan.biases[static_cast<size_t>(plan.edits[2].bias_begin)], 1.0f);
  EXPECT_EQ(plan.biases[static_cast<size_t>(plan.edits[2].bias_begin) + 1], -3.0f);
}

TEST(DrawPlan, LeavesOutPenaltiesThatChangeNothing) {
  const std::vector<uint32_t> tokens(1000, 3);
  SamplingRow row;
  row.prompt_tokens = tokens;
  row.answer_tokens = tokens;
  EXPECT_TRUE(PlanDraws({&row, 1}, 100).edits.empty());
  row.presence_penalty = 0.1f;
  EXPECT_EQ(PlanDraws({&row, 1}, 100).edits.size(), 1u);
}

TEST(DrawPlan, KeepsTheListsOfRowsApart) {
  const std::vector<uint32_t> allowed = {1, 2, 3};
  const std::vector<uint32_t> masked = {4};
  std::vector<SamplingRow> rows(3);
  rows[0].allowed_tokens = allowed;
  rows[2].masked_tokens = masked;
  rows[2].seed = 77;
  rows[2].position = 12;
  const DrawPlan plan = PlanDraws(rows, 100);
  ASSERT_EQ(plan.rows.size(), 3u);
  EXPECT_EQ(plan.tokens, (std::vector<uint32_t>{1, 2, 3, 4}));
  EXPECT_EQ(plan.rows[0].allowed_end - plan.rows[0].allowed_begin, 3);
  EXPECT_EQ(plan.rows[1].allowed_end, plan.rows[1].allowed_begin);
  EXPECT_EQ(plan.rows[2].allowed_end, plan.rows[2].allowed_begin);
  EXPECT_EQ(plan.rows[2].masked_begin, 3);
  EXPECT_EQ(plan.rows[2].masked_end, 4);
  EXPECT_EQ(plan.rows[2].seed, 77u);
  EXPECT_EQ(plan.rows[2].position, 12u);
}

TEST(DrawPlan, BoundsLogprobsByTheVocabularyAndIgnoresThemUnlessAskedFor) {
  std::vector<SamplingRow> rows(2);
  rows[0].num_top_logprobs = 20;
  rows[1].num_top_logprobs = 20;
  rows[1].logprobs = true;
  const DrawPlan plan = PlanDraws(rows, 8);
  EXPECT_EQ(plan.rows[0].num_top, 0);
  EXPECT_EQ(plan.rows[1].num_top, 8);
  EXPECT_EQ(plan.most_top, 8);
}

size_t ListBytes(const DrawPlan& plan) {
  return plan.edits.size() * sizeof(DrawEdit) + plan.biases.size() * sizeof(float) +
         plan.tokens.size() * sizeof(uint32_t);
}

TEST(DrawPlan, LaunchesRowsWithoutListsTogether) {
  const std::vector<SamplingRow> rows(128);
  EXPECT_EQ(RowsOfLaunch(rows, 129280), 128);
}

TEST(DrawPlan, LaunchesNoMoreListsThanThereIsRoomFor) {
  constexpr int64_t kVocabulary = 129280;
  std::vector<uint32_t> tokens(kVocabulary);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<uint32_t>(i);
  const std::vector<TokenBias> biases(300, {5, 1.0f});
  std::vector<SamplingRow> rows(10);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i % 3 == 0) rows[i].allowed_tokens = tokens;
    if (i % 5 == 0) rows[i].prompt_tokens = tokens;
    if (i % 2 == 0) rows[i].answer_tokens = std::span(tokens).first(tokens.size() / 2);
    if (i % 4 == 0) rows[i].logit_bias = biases;
    rows[i].repetition_penalty = i % 5 == 0 ? 1.2f : 1.0f;
    rows[i].presence_penalty = 0.5f;
  }
  int64_t launches = 0;
  for (std::span<const SamplingRow> left = rows; !left.empty(); ++launches) {
    const auto count = static_cast<size_t>(RowsOfLaunch(left, kVocabulary));
    ASSERT_GE(count, 1u);
    EXPECT_LE(ListBytes(PlanDraws(left.first(count), kVocabulary)), ListRoom(kVocabulary));
    left = left.subspan(count);
  }
  EXPECT_GT(launches, 1);
  EXPECT_LT(launches, 10);
}

TEST(DrawPlan, LaunchesARowWithMoreThanTheRoomAlone) {
  const std::vector<uint32_t> tokens(3 << 20, 1);
  std::vector<SamplingRow> rows(2);
  for (SamplingRow& row : rows) row.masked_tokens = tokens;
  EXPECT_EQ(RowsOfLaunch(rows, 100), 1);
}

}  // namespace
}  // namespace baton::kernels::cuda
