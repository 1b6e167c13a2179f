#include <cmath>
#include <limits>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> weights;

  friend bool operator==(const Choice&, const Choice&) = default;
};

class RouterConformance : public ConformanceTest {
 protected:
  static Choice Select(Ops& on, const TensorView& logits, const TensorView& bias,
                       const RouterParams& params) {
    Choice choice;
    choice.experts.resize(logits.rows * params.top_k);
    choice.weights.resize(logits.rows * params.top_k);
    on.SelectExperts({logits, bias, params, choice.experts, choice.weights});
    return choice;
  }

  // One row of given logits, no bias.
  Choice SelectOne(const std::vector<float>& logits, const RouterParams& params,
                   std::vector<float> bias = {}) {
    Tensor row(DataType::kFloat32, 1, static_cast<int64_t>(logits.size()));
    Tensor biases(DataType::kFloat32, 1, static_cast<int64_t>(logits.size()));
    for (size_t i = 0; i < logits.size(); ++i) {
      Put(row.view, 0, i, logits[i]);
      if (!bias.empty()) Put(biases.view, 0, i, bias[i]);
    }
    return Select(ops(), row.view, biases.view, params);
  }
};

TEST_P(RouterConformance, ChoosesExactlyAsTheReference) {
  Random random(1);
  const RouterParams cases[] = {{16, 4, 2, 4, true, 2.5f}, {256, 8, 4, 8, true, 2.5f},
                                {16, 1, 1, 4, true, 1.0f}, {20, 4, 1, 5, false, 1.0f},
                                {6, 3, 3, 6, true, 1.0f},  {8, 8, 3, 2, true, 1.0f},
                                {1, 1, 1, 1, true, 1.0f}};
  for (const RouterParams& params : cases) {
    for (int64_t tokens : {0, 1, 40}) {
      const Tensor logits = RandomTensor(random, DataType::kFloat32, tokens, params.num_experts);
      const Tensor bias = RandomTensor(random, DataType::kFloat32, 1, params.num_experts, 0.05f);
      EXPECT_EQ(Select(ops(), logits.view, bias.view, params),
                Select(reference(), logits.view, bias.view, params))
          << params.num_experts << " experts, " << params.num_groups << " groups";
    }
  }
}

TEST_P(RouterConformance, ChoosesAsTheReferenceAmongManyTies) {
  Random random(2);
  const RouterParams params = {32, 4, 2, 6, true, 2.5f};
  Tensor logits(DataType::kFloat32, 50, 32);
  for (int64_t r = 0; r < 50; ++r) {
    for (int64_t c = 0; c < 32; ++c) Put(logits.view, r, c, static_cast<float>(random() % 3));
  }
  const Tensor bias(DataType::kFloat32, 1, 32);
  EXPECT_EQ(Select(ops(), logits.view, bias.view, params),
            Select(reference(), logits.view, bias.view, params));
}

TEST_P(RouterConformance, TiesGoToTheLowerIndex) {
  const Choice choice = SelectOne({1, 1, 1, 1, 1, 1, 1, 1}, {8, 4, 2, 3, true, 1.0f});
  EXPECT_EQ(choice.experts, (std::vector<int32_t>{0, 1, 2}));
}

TEST_P(RouterConformance, KeepsOnlyExpertsOfTheBestGroups) {
  // Group 0 has the best single expert, group 1 the best pair.
  const Choice choice = SelectOne({5, -5, 2, 2, -5, -5}, {6, 3, 1, 2, true, 1.0f});
  EXPECT_EQ(choice.experts, (std::vector<int32_t>{2, 3}));
}

TEST_P(RouterConformance, ExpertsOutsideTheBestGroupsCountAsZero) {
  // All choices of the kept group are negative: experts elsewhere, counted as 0, win.
  const Choice choice = SelectOne({-4, -4, -6, -6}, {4, 2, 1, 2, true, 1.0f}, {-1, -1, -2, -2});
  EXPECT_EQ(choice.experts, (std::vector<int32_t>{2, 3}));
}

TEST_P(RouterConformance, TheBiasChoosesButDoesNotWeigh) {
  const Choice choice = SelectOne({0, 0, 3, 3}, {4, 1, 1, 2, false, 1.0f}, {1, 1, 0, 0});
  EXPECT_EQ(choice.experts, (std::vector<int32_t>{0, 1}));
  EXPECT_FLOAT_EQ(choice.weights[0], 0.5f);
}

TEST_P(RouterConformance, WeightsAreNormalisedThenScaled) {
  const Choice choice = SelectOne({0, 1, 2, 3}, {4, 1, 1, 2, true, 2.5f});
  EXPECT_EQ(choice.experts, (std::vector<int32_t>{3, 2}));
  const float a = 1.0f / (1.0f + std::exp(-3.0f));
  const float b = 1.0f / (1.0f + std::exp(-2.0f));
  EXPECT_NEAR(choice.weights[0], 2.5f * a / (a + b), 1e-6f);
  EXPECT_NEAR(choice.weights[1], 2.5f * b / (a + b), 1e-6f);
}

TEST_P(RouterConformance, ExtremeLogitsStayInRange) {
  const Choice choice = SelectOne({-1000, 1000, 80, -80}, {4, 1, 1, 4, true, 1.0f});
  EXPECT_EQ(choice.experts[0], 1);
  for (float weight : choice.weights) EXPECT_TRUE(weight >= 0.0f && weight <= 1.0f) << weight;
}

TEST_P(RouterConformance, PaddingChoosesNoExpert) {
  constexpr int64_t kTokens = 5;
  Random random(3);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, kTokens, 16);
  const Tensor bias = RandomTensor(random, DataType::kFloat32, 1, 16);
  const std::vector<int32_t> sequence_rows = {0, -1, 1, -1, -1};
  for (int64_t e = 0; e < 16; ++e) {  // left over from whatever stood there
    Put(logits.view, 3, e, std::numeric_limits<float>::quiet_NaN());
  }
  std::vector<int32_t> experts(kTokens * 2);
  std::vector<float> weights(kTokens * 2);
  std::vector<int32_t> all_experts(kTokens * 2);
  std::vector<float> all_weights(kTokens * 2);
  const RouterParams params = {.num_experts = 16, .top_k = 2};
  ops().SelectExperts({logits.view.Rows(0, 3), bias.view, params, all_experts, all_weights});
  ops().SelectExperts({logits.view, bias.view, params, experts, weights, sequence_rows});
  for (int64_t slot = 0; slot < kTokens * 2; ++slot) {
    const bool padding = sequence_rows[slot / 2] < 0;
    EXPECT_EQ(experts[slot], padding ? -1 : all_experts[slot]);
    EXPECT_EQ(weights[slot], padding ? 0.0f : all_weights[slot]);
  }
}

BATON_CONFORMANCE_TESTS(RouterConformance);

}  // namespace
}  // namespace baton::kernels
