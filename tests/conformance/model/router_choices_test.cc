// What excuses that a run leaves the oracle, on choices made up.
#include "tests/conformance/model/router_choices.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {
namespace {

// Shows the choices of one layer for rows that come in one step; all have the same logits.
void Show(RouterChoices& choices, int layer, const std::vector<std::vector<int32_t>>& rows) {
  const ModelConfig& config = TinyModelOf("fp8").config;
  const auto num_rows = static_cast<int64_t>(rows.size());
  std::vector<float> logits(rows.size() * static_cast<size_t>(config.num_experts), 0.25f);
  std::vector<int32_t> experts;
  for (const std::vector<int32_t>& row : rows) {
    experts.insert(experts.end(), row.begin(), row.end());
  }
  const std::string name = "layers." + std::to_string(layer);
  choices.OnTensor(name + ".router.logits", View(logits.data(), num_rows, config.num_experts));
  choices.OnExperts(name + ".router.experts", experts);
  choices.OnTensor(name + ".mlp", View(logits.data(), num_rows, config.num_experts));
}

const std::vector<int32_t> kFour = {3, 1, 2, 0};
const std::vector<int32_t> kFourInOtherOrder = {0, 1, 2, 3};
const std::vector<int32_t> kFourOthers = {3, 1, 2, 9};

TEST(RouterChoices, PartAtTheFirstPositionAndThereInTheFirstLayer) {
  const TinyModel& model = TinyModelOf("fp8");
  RouterChoices expected(&model);
  RouterChoices actual(&model);
  // In steps of two rows and of one; layer 3 parts later than layers 5 and 6.
  Show(expected, 3, {kFour, kFour});
  Show(expected, 5, {kFour, kFour});
  Show(expected, 6, {kFour, kFour});
  Show(expected, 3, {kFour});
  Show(expected, 5, {kFour});
  Show(expected, 6, {kFour});
  Show(actual, 3, {kFour, kFourInOtherOrder});
  Show(actual, 5, {kFour, kFourOthers});
  Show(actual, 6, {kFour, kFourOthers});
  Show(actual, 3, {kFourOthers});
  Show(actual, 5, {kFourOthers});
  Show(actual, 6, {kFour});
  const Parting parting = FirstParting(expected, actual);
  EXPECT_EQ(parting.position, 1);
  EXPECT_EQ(parting.layer, 5);
  EXPECT_EQ(parting.gap, expected.by_layer().at(5)[1].gap);
}

TEST(RouterChoices, PartNowhereWhereTheyAreTheSame) {
  const TinyModel& model = TinyModelOf("fp8");
  RouterChoices expected(&model);
  RouterChoices actual(&model);
  Show(expected, 3, {kFour, kFourOthers});
  Show(actual, 3, {kFourInOtherOrder, kFourOthers});
  const Parting parting = FirstParting(expected, actual);
  EXPECT_EQ(parting.position, -1);
  EXPECT_FALSE(Excuses(parting, {0, -1})) << "nothing parted";
  EXPECT_FALSE(Excuses(parting, {7, 6}));
}

TEST(RouterChoices, ANearTieExcusesWhatFirstGoesWrongThereAlone) {
  constexpr float kNear = kRouterTie / 2;
  EXPECT_TRUE(Excuses({7, 3, kNear}, {7, 6}));
  EXPECT_TRUE(Excuses({7, 3, kNear}, {16, 0})) << "the oracle says nothing of 1 to 15";
  EXPECT_TRUE(Excuses({0, 3, kNear}, {0, -1}));
  EXPECT_FALSE(Excuses({6, 3, kNear}, {7, 6})) << "it changed nothing where it was";
  EXPECT_FALSE(Excuses({8, 3, kNear}, {7, 6})) << "it came later";
  EXPECT_FALSE(Excuses({7, 3, kRouterTie}, {7, 6})) << "it was no near-tie";
}

}  // namespace
}  // namespace baton::conformance
