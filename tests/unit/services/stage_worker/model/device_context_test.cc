#include "services/stage_worker/model/device_context.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

class OneTensor final : public ActivationTap {
 public:
  void OnTensor(absl::string_view name, const TensorView& values) override {
    name_ = std::string(name);
    for (int64_t row = 0; row < values.rows; ++row) {
      const std::vector<float> more = fakes::ToyDevice::RowOf(values, row);
      values_.insert(values_.end(), more.begin(), more.end());
    }
  }
  void OnExperts(absl::string_view, std::span<const int32_t>) override {}

  std::string name_;
  std::vector<float> values_;
};

TEST(SumOverRanks, AddsInRankOrder) {
  fakes::ToyDevice device(3);
  const Workspace& space = device.workspace();
  // In this order the sum is 1; the other way round it is 0.
  const float parts[] = {1e8f, -1e8f, 1.0f};
  for (size_t rank = 0; rank < 3; ++rank) space.parts[rank].Row<float>(1)[5] = parts[rank];
  SumOverRanks(device.context(), 2);
  EXPECT_EQ(space.summed.Row<float>(1)[5], 1.0f);
  EXPECT_EQ(space.summed.Row<float>(0)[5], 0.0f);
}

TEST(ShowTensor, GathersStridedRows) {
  fakes::ToyDevice device(1);
  OneTensor tap;
  device.context().tap = &tap;
  std::vector<float> values = {0, 1, 2, 3, 4, 5};
  ShowTensor(device.context(), LayerName(7, ".mlp"), View(values.data(), 2, 3).Columns(1, 2));
  EXPECT_EQ(tap.name_, "layers.7.mlp");
  EXPECT_THAT(tap.values_, testing::ElementsAre(1, 2, 4, 5));
}

}  // namespace
}  // namespace baton::stage
