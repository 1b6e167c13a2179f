#include "services/stage_worker/model/moe_block.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

class Names final : public ActivationTap {
 public:
  void OnTensor(absl::string_view name, const TensorView&) override { names_.emplace_back(name); }
  void OnExperts(absl::string_view name, std::span<const int32_t> experts) override {
    names_.emplace_back(name);
    experts_.assign(experts.begin(), experts.end());
  }
  std::vector<std::string> names_;
  std::vector<int32_t> experts_;
};

std::vector<float> RunMoeRow(fakes::ToyDevice& device, int64_t first_row, int64_t num_rows,
                             int64_t row) {
  device.FillNormed(first_row, num_rows);
  const std::vector<uint32_t> tokens(static_cast<size_t>(num_rows));
  RunMoe(device.context(), device.Rows(0, tokens), device.weights().layers[2], 2);
  return fakes::ToyDevice::RowOf(device.workspace().summed, row);
}

TEST(RunMoe, SumsTheShardsOfAllRanks) {
  fakes::ToyDevice one(1);
  const std::vector<float> whole = RunMoeRow(one, 0, 3, 2);
  for (int num_ranks : {2, 3}) {
    fakes::ToyDevice device(num_ranks);
    const std::vector<float> sharded = RunMoeRow(device, 0, 3, 2);
    for (size_t i = 0; i < whole.size(); ++i) {
      ASSERT_NEAR(sharded[i], whole[i], 1e-4 * (1.0 + std::abs(whole[i]))) << num_ranks;
    }
  }
}

TEST(RunMoe, DoesNotMixRows) {
  fakes::ToyDevice device(2);
  EXPECT_EQ(RunMoeRow(device, 4, 1, 0), RunMoeRow(device, 0, 9, 4));
}

TEST(RunMoe, ShowsItsChoiceFromTheKeptGroups) {
  fakes::ToyDevice device(1);
  Names tap;
  device.context().tap = &tap;
  RunMoeRow(device, 0, 1, 0);
  EXPECT_THAT(tap.names_, testing::ElementsAre("layers.2.router.logits", "layers.2.router.experts",
                                               "layers.2.router.weights"));
  ASSERT_EQ(tap.experts_.size(), 3u);
  std::set<int32_t> groups;
  for (int32_t expert : tap.experts_) groups.insert(expert / 2);
  EXPECT_LE(groups.size(), 2u);
}

}  // namespace
}  // namespace baton::stage
