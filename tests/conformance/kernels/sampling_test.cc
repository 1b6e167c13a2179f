#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "kernels/api/reproducible_math.h"
#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

class SamplingConformance : public ConformanceTest {
 protected:
  static std::vector<SampleResult> Draw(Ops& on, const TensorView& logits,
                                        const std::vector<SamplingRow>& rows) {
    std::vector<SampleResult> results(rows.size());
    on.Sample({logits, rows, results});
    return results;
  }

  SampleResult DrawOne(const std::vector<float>& logits, const SamplingRow& row) {
    Tensor tensor(DataType::kFloat32, 1, static_cast<int64_t>(logits.size()));
    for (size_t i = 0; i < logits.size(); ++i) Put(tensor.view, 0, i, logits[i]);
    return Draw(ops(), tensor.view, {row})[0];
  }

  // Tokens that 400 positions give.
  std::set<uint32_t> Support(const std::vector<float>& logits, SamplingRow row) {
    std::set<uint32_t> tokens;
    for (row.position = 0; row.position < 400; ++row.position) {
      tokens.insert(DrawOne(logits, row).token_id);
    }
    return tokens;
  }

  static void ExpectSame(const SampleResult& actual, const SampleResult& expected) {
    EXPECT_EQ(actual.token_id, expected.token_id);
    EXPECT_EQ(actual.finite, expected.finite);
    EXPECT_EQ(actual.token.token_id, expected.token.token_id);
    EXPECT_EQ(actual.token.rank, expected.token.rank);
    EXPECT_EQ(actual.token.logprob, expected.token.logprob);
    ASSERT_EQ(actual.top.size(), expected.top.size());
    for (size_t i = 0; i < actual.top.size(); ++i) {
      EXPECT_EQ(actual.top[i].token_id, expected.top[i].token_id) << i;
      EXPECT_EQ(actual.top[i].logprob, expected.top[i].logprob) << i;
      EXPECT_EQ(actual.top[i].rank, expected.top[i].rank) << i;
    }
  }
};

TEST_P(SamplingConformance, DrawsTheReferencesTokenWithAnyParameters) {
  Random random(1);
  for (int64_t vocabulary : {1, 5, 16, 67, 1000, 2048}) {
    const Tensor logits = RandomTensor(random, DataType::kFloat32, 60, vocabulary, 3.0f);
    std::vector<uint32_t> prompt;
    std::vector<uint32_t> answer;
    std::vector<uint32_t> allowed;
    std::vector<uint32_t> masked;
    std::vector<TokenBias> bias;
    for (int i = 0; i < 20; ++i) {
      prompt.push_back(random() % vocabulary);
      answer.push_back(random() % vocabulary);
      allowed.push_back(random() % vocabulary);
      bias.push_back({static_cast<uint32_t>(random() % vocabulary), i % 3 - 1.0f});
      // Of the allowed ones the first stays.
      const uint32_t candidate = random() % vocabulary;
      if (candidate != allowed[0]) masked.push_back(candidate);
    }
    std::vector<SamplingRow> rows(60);
    for (size_t r = 0; r < rows.size(); ++r) {
      SamplingRow& row = rows[r];
      row.seed = random() * uint64_t{0x9e3779b97f4a7c15};
      row.position = random() % 5000;
      row.temperature = r % 4 == 0 ? 0.0f : 0.3f * static_cast<float>(r % 7);
      row.top_k = r % 3 == 1 ? r : 0;
      row.top_p = r % 5 == 2 ? 0.7f : r % 5 == 3 ? 0.95f : 1.0f;
      row.min_p = r % 7 == 3 ? 0.05f : 0.0f;
      if (r % 6 == 4) row.presence_penalty = 0.7f;
      if (r % 6 == 5) row.frequency_penalty = -0.3f;
      if (r % 4 == 3) row.repetition_penalty = 1.3f;
      row.prompt_tokens = prompt;
      row.answer_tokens = answer;
      if (r % 8 == 6) row.logit_bias = bias;
      if (r % 9 == 7) row.allowed_tokens = allowed;
      if (r % 5 >= 3) row.masked_tokens = masked;
      row.logprobs = r % 2 == 0;
      row.num_top_logprobs = r % 6;
    }
    const auto expected = Draw(reference(), logits.view, rows);
    const auto actual = Draw(ops(), logits.view, rows);
    for (size_t r = 0; r < rows.size(); ++r) {
      SCOPED_TRACE(testing::Message() << "row " << r << " of vocabulary " << vocabulary);
      ExpectSame(actual[r], expected[r]);
    }
  }
}

TEST_P(SamplingConformance, DrawsTheReferencesTokenFromALargeVocabulary) {
  Random random(2);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 6, 129280, 2.0f);
  std::vector<SamplingRow> rows(6);
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].temperature = r == 0 ? 0.0f : 1.0f;
    rows[r].seed = r;
    rows[r].logprobs = true;
    rows[r].num_top_logprobs = 20;
    if (r == 2) rows[r].top_p = 0.9f;
    if (r == 3) rows[r].top_k = 50;
    if (r == 4) rows[r].min_p = 0.01f;
  }
  const auto expected = Draw(reference(), logits.view, rows);
  const auto actual = Draw(ops(), logits.view, rows);
  for (size_t r = 0; r < rows.size(); ++r) ExpectSame(actual[r], expected[r]);
}

TEST_P(SamplingConformance, TiedLogitsAreDrawnAsTheReferenceDoes) {
  Random random(3);
  Tensor logits(DataType::kFloat32, 80, 300);
  for (int64_t r = 0; r < 80; ++r) {
    for (int64_t c = 0; c < 300; ++c) Put(logits.view, r, c, static_cast<float>(random() % 4));
  }
  std::vector<SamplingRow> rows(80);
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].temperature = r % 3 == 0 ? 0.0f : 0.9f;
    rows[r].seed = 99;
    rows[r].position = r;
    if (r % 4 == 1) rows[r].top_k = 40;
    if (r % 4 == 2) rows[r].top_p = 0.5f;
    rows[r].logprobs = true;
    rows[r].num_top_logprobs = 10;
  }
  const auto expected = Draw(reference(), logits.view, rows);
  const auto actual = Draw(ops(), logits.view, rows);
  for (size_t r = 0; r < rows.size(); ++r) ExpectSame(actual[r], expected[r]);
}

TEST_P(SamplingConformance, GreedyTakesTheLargestAndTheLowestAmongEquals) {
  EXPECT_EQ(DrawOne({1, 3, 2, 3}, {}).token_id, 1u);
  SamplingRow nearly_greedy;
  nearly_greedy.temperature = 1e-6f;
  EXPECT_EQ(DrawOne({1, 3, 2, 3}, nearly_greedy).token_id, 1u);
}

TEST_P(SamplingConformance, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f, 1.5f};
  SamplingRow row;
  row.temperature = 0.8f;
  row.seed = 1234;
  std::vector<double> probabilities;
  double total = 0.0;
  for (float logit : logits) total += std::exp(logit / 0.8);
  for (float logit : logits) probabilities.push_back(std::exp(logit / 0.8) / total);
  constexpr int kDraws = 20000;
  std::vector<int> counts(logits.size());
  for (row.position = 0; row.position < kDraws; ++row.position) {
    ++counts[DrawOne(logits, row).token_id];
  }
  double chi_square = 0.0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = probabilities[i] * kDraws;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 18.5);  // 99.9 % quantile at 4 degrees of freedom
}

TEST_P(SamplingConformance, ADrawDependsOnSeedAndPositionAlone) {
  Random random(4);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 8, 500);
  std::vector<SamplingRow> rows(8);
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].temperature = 1.0f;
    rows[r].seed = 7 + r / 4;
    rows[r].position = r % 4;
  }
  const auto together = Draw(ops(), logits.view, rows);
  for (size_t r = 0; r < rows.size(); ++r) {
    EXPECT_EQ(Draw(ops(), logits.view.Rows(r, 1), {rows[r]})[0].token_id, together[r].token_id);
  }
  std::set<uint32_t> by_seed;
  SamplingRow row = rows[0];
  for (row.seed = 0; row.seed < 20; ++row.seed) {
    by_seed.insert(Draw(ops(), logits.view.Rows(0, 1), {row})[0].token_id);
  }
  EXPECT_GT(by_seed.size(), 10u);
}

TEST_P(SamplingConformance, TopKKeepsTheBest) {
  SamplingRow row;
  row.temperature = 2.0f;
  row.top_k = 2;
  EXPECT_EQ(Support({1, 1.1f, 0.9f, 1.2f}, row), (std::set<uint32_t>{1, 3}));
}

TEST_P(SamplingConformance, TopPKeepsTheSmallestSetThatReachesItsMass) {
  SamplingRow row;
  row.temperature = 1.0f;
  // Probabilities 0.5, 0.3, 0.2.
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  row.top_p = 0.4f;
  EXPECT_EQ(Support(logits, row), (std::set<uint32_t>{0}));
  row.top_p = 0.6f;
  EXPECT_EQ(Support(logits, row), (std::set<uint32_t>{0, 1}));
  row.top_p = 0.9f;
  EXPECT_EQ(Support(logits, row), (std::set<uint32_t>{0, 1, 2}));
}

TEST_P(SamplingConformance, MinPDropsTheUnlikely) {
  SamplingRow row;
  row.temperature = 1.0f;
  row.min_p = 0.5f;
  EXPECT_EQ(Support({0.0f, -0.6f, -0.8f}, row), (std::set<uint32_t>{0, 1}));  // e^-0.6 = 0.55
}

TEST_P(SamplingConformance, PenaltiesFollowTheirFormulas) {
  const std::vector<uint32_t> prompt = {0};
  const std::vector<uint32_t> answer = {1, 1};
  SamplingRow row;
  row.prompt_tokens = prompt;
  row.answer_tokens = answer;
  row.repetition_penalty = 2.0f;  // 0: 4 -> 2; 1: 6 -> 3; 2: 2.5 stays
  EXPECT_EQ(DrawOne({4.0f, 6.0f, 2.5f}, row).token_id, 1u);
  row.repetition_penalty = 3.0f;
  EXPECT_EQ(DrawOne({4.0f, 6.0f, 2.5f}, row).token_id, 2u);
  EXPECT_EQ(DrawOne({-1.0f, -1.0f, -2.5f}, row).token_id, 2u) << "negative logits are multiplied";
  row.repetition_penalty = 1.0f;
  row.frequency_penalty = 1.0f;  // twice in the answer: -2
  EXPECT_EQ(DrawOne({4.0f, 6.5f, 2.5f}, row).token_id, 1u);
  EXPECT_EQ(DrawOne({4.0f, 5.5f, 2.5f}, row).token_id, 0u) << "the prompt does not count";
  row.frequency_penalty = 0.0f;
  row.presence_penalty = 1.0f;
  EXPECT_EQ(DrawOne({4.0f, 5.5f, 2.5f}, row).token_id, 1u) << "once, however often";
  EXPECT_EQ(DrawOne({4.0f, 4.5f, 2.5f}, row).token_id, 0u);
}

TEST_P(SamplingConformance, BiasAndAllowedTokensSteerGreedy) {
  const std::vector<TokenBias> bias = {{2, 5.0f}};
  SamplingRow row;
  row.logit_bias = bias;
  EXPECT_EQ(DrawOne({1.0f, 3.0f, 0.0f}, row).token_id, 2u);
  const std::vector<uint32_t> allowed = {0, 2, 0};
  row = {};
  row.allowed_tokens = allowed;
  EXPECT_EQ(DrawOne({1.0f, 3.0f, 0.0f}, row).token_id, 0u);
  row.temperature = 1.0f;
  EXPECT_EQ(Support({1.0f, 30.0f, 0.0f}, row), (std::set<uint32_t>{0, 2}));
}

TEST_P(SamplingConformance, MaskedTokensAreNeverDrawnWhateverTheParameters) {
  const std::vector<float> logits = {1.0f, 30.0f, 0.5f, 29.0f};
  const std::vector<uint32_t> masked = {1, 3};
  const std::vector<TokenBias> bias = {{3, 100.0f}};
  const std::vector<uint32_t> answer = {0, 2};
  SamplingRow row;
  row.masked_tokens = masked;
  row.logit_bias = bias;
  EXPECT_EQ(DrawOne(logits, row).token_id, 0u);
  row.temperature = 1.0f;
  EXPECT_EQ(Support(logits, row), (std::set<uint32_t>{0, 2}));
  SamplingRow filtered = row;
  filtered.top_k = 3;  // more than are left
  EXPECT_EQ(Support(logits, filtered), (std::set<uint32_t>{0, 2}));
  filtered = row;
  filtered.top_p = 0.5f;  // of the mass of those that are left: e^1 / (e^1 + e^0.5) = 0.62
  EXPECT_EQ(Support(logits, filtered), (std::set<uint32_t>{0}));
  filtered = row;
  filtered.min_p = 0.5f;
  EXPECT_EQ(Support(logits, filtered), (std::set<uint32_t>{0, 2}));
  const std::vector<uint32_t> allowed = {1, 2};
  row.allowed_tokens = allowed;
  row.answer_tokens = answer;
  row.frequency_penalty = 2.0f;
  EXPECT_EQ(Support(logits, row), (std::set<uint32_t>{2}));
}

TEST_P(SamplingConformance, LogprobsOfAMaskedRowAreOfTheRawLogits) {
  const std::vector<uint32_t> masked = {1};
  SamplingRow row;
  row.masked_tokens = masked;
  row.logprobs = true;
  row.num_top_logprobs = 1;
  const SampleResult result = DrawOne({1.0f, 2.0f}, row);
  EXPECT_EQ(result.token_id, 0u);
  EXPECT_EQ(result.token.rank, 2u);
  EXPECT_NEAR(result.token.logprob, 1.0 - std::log(std::exp(1.0) + std::exp(2.0)), 1e-6);
  ASSERT_EQ(result.top.size(), 1u);
  EXPECT_EQ(result.top[0].token_id, 1u);
}

TEST_P(SamplingConformance, LogprobsAreOfTheRawLogits) {
  SamplingRow row;
  row.logprobs = true;
  row.num_top_logprobs = 2;
  const std::vector<TokenBias> bias = {{2, 50.0f}};
  row.logit_bias = bias;
  const std::vector<float> logits = {1.0f, 2.0f, 0.5f, -1.0f};
  double total = 0.0;
  for (float logit : logits) total += std::exp(logit);
  const SampleResult result = DrawOne(logits, row);
  EXPECT_EQ(result.token.token_id, 2u);
  EXPECT_EQ(result.token.rank, 3u);
  EXPECT_NEAR(result.token.logprob, 0.5 - std::log(total), 1e-6);
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[0].token_id, 1u);
  EXPECT_EQ(result.top[0].rank, 1u);
  EXPECT_NEAR(result.top[0].logprob, 2.0 - std::log(total), 1e-6);
  EXPECT_EQ(result.top[1].token_id, 0u);
}

TEST_P(SamplingConformance, LogprobsOfALargeVocabularySumToOne) {
  Random random(5);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 1, 129280, 4.0f);
  double exact = 0.0;
  float largest = -1e30f;
  for (int64_t i = 0; i < 129280; ++i) largest = std::max(largest, Get(logits.view, 0, i));
  for (int64_t i = 0; i < 129280; ++i) exact += std::exp(double{Get(logits.view, 0, i)} - largest);
  SamplingRow row;
  row.logprobs = true;
  EXPECT_NEAR(Draw(ops(), logits.view, {row})[0].token.logprob, -std::log(exact), 2e-6);
}

TEST_P(SamplingConformance, ReportsRowsThatAreNotFinite) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (size_t place : {size_t{0}, size_t{17}, size_t{39}}) {
      std::vector<float> logits(40, 1.0f);
      logits[place] = bad;
      EXPECT_FALSE(DrawOne(logits, {}).finite) << bad << " at " << place;
    }
  }
  EXPECT_TRUE(DrawOne(std::vector<float>(40, 3e38f), {}).finite);
}

TEST_P(SamplingConformance, HugeLogitsDoNotOverflow) {
  SamplingRow row;
  row.temperature = 1e-4f;
  EXPECT_EQ(DrawOne({-3e38f, 2e38f, 1e20f}, row).token_id, 1u);
}

TEST_P(SamplingConformance, ScoreTokensGivesRankAndLogprobOfItsTargets) {
  Random random(6);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 9, 777);
  std::vector<uint32_t> targets;
  for (int r = 0; r < 9; ++r) targets.push_back(random() % 777);
  std::vector<SampleResult> expected(9);
  std::vector<SampleResult> actual(9);
  reference().ScoreTokens({logits.view, targets, 5, expected});
  ops().ScoreTokens({logits.view, targets, 5, actual});
  for (int r = 0; r < 9; ++r) {
    ExpectSame(actual[r], expected[r]);
    EXPECT_EQ(actual[r].token_id, targets[r]);
    EXPECT_EQ(actual[r].token.token_id, targets[r]);
  }
}

TEST_P(SamplingConformance, ScoreTokensOfALargeVocabularyGivesWhatTheReferenceGives) {
  constexpr int64_t kVocabulary = 129280;
  Random random(7);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 5, kVocabulary, 3.0f);
  const std::vector<uint32_t> targets = {0, kVocabulary - 1, 64640, 31, 99999};
  std::vector<SampleResult> expected(5);
  std::vector<SampleResult> actual(5);
  reference().ScoreTokens({logits.view, targets, 20, expected});
  ops().ScoreTokens({logits.view, targets, 20, actual});
  for (size_t r = 0; r < 5; ++r) {
    SCOPED_TRACE(testing::Message() << "row " << r);
    ExpectSame(actual[r], expected[r]);
    EXPECT_EQ(actual[r].token.token_id, targets[r]);
    EXPECT_EQ(actual[r].top.size(), 20u);
  }
}

BATON_CONFORMANCE_TESTS(SamplingConformance);

}  // namespace
}  // namespace baton::kernels
