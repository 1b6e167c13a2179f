#include "services/stage_worker/model/mlp_block.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

std::vector<float> RunMlpRow(fakes::ToyDevice& device, int64_t first_row, int64_t num_rows,
                             int64_t row) {
  device.FillNormed(first_row, num_rows);
  const std::vector<uint32_t> tokens(static_cast<size_t>(num_rows));
  RunMlp(device.context(), device.Rows(0, tokens), device.weights().layers[0]);
  return fakes::ToyDevice::RowOf(device.workspace().summed, row);
}

TEST(RunMlp, SumsTheShardsOfAllRanks) {
  fakes::ToyDevice one(1);
  const std::vector<float> whole = RunMlpRow(one, 0, 2, 1);
  for (int num_ranks : {2, 6}) {
    fakes::ToyDevice device(num_ranks);
    const std::vector<float> sharded = RunMlpRow(device, 0, 2, 1);
    for (size_t i = 0; i < whole.size(); ++i) {
      ASSERT_NEAR(sharded[i], whole[i], 1e-4 * (1.0 + std::abs(whole[i]))) << num_ranks;
    }
  }
}

TEST(RunMlp, DoesNotMixRows) {
  fakes::ToyDevice device(2);
  EXPECT_EQ(RunMlpRow(device, 4, 1, 0), RunMlpRow(device, 0, 9, 4));
}

}  // namespace
}  // namespace baton::stage
