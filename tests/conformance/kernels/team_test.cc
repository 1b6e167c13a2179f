// Teams of devices: how ranks spread and what their collectives give.
#include <thread>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

class TeamConformance : public ::testing::TestWithParam<BackendCase> {
 protected:
  static absl::StatusOr<Team> MakeTeam(int num_ranks, int num_devices) {
    return GetParam().create(GetParam())->CreateTeam(num_ranks, num_devices);
  }
};

TEST_P(TeamConformance, SpreadsRanksInContiguousRuns) {
  for (int devices : {1, 2, 3, 4, 8}) {
    if (devices > GetParam().most_devices) continue;
    const Team team = MakeTeam(8, devices).value();
    ASSERT_EQ(static_cast<int>(team.devices.size()), devices);
    int next = 0;
    for (const Team::Device& device : team.devices) {
      EXPECT_EQ(device.first_rank, next);
      EXPECT_GE(device.num_ranks, 1);
      EXPECT_NE(device.ops, nullptr);
      next += device.num_ranks;
    }
    EXPECT_EQ(next, 8);
    EXPECT_FALSE(team.name.empty());
  }
}

TEST_P(TeamConformance, RefusesDevicesWithoutRanks) {
  EXPECT_EQ(MakeTeam(2, 3).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeTeam(1, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

// Row-parallel product: rank r has columns r of W and of x; the partial sums are added up.
TEST_P(TeamConformance, ShardedProductsAddUpToTheSameBitsOnAnyNumberOfDevices) {
  constexpr int kRanks = 8;
  constexpr int64_t kIn = 16;
  constexpr int64_t kOut = 40;
  Random random(1);
  std::vector<TestWeight> shards;
  std::vector<Tensor> inputs;
  for (int rank = 0; rank < kRanks; ++rank) {
    shards.emplace_back(random, WeightShape{DataType::kFloat8E4M3, kOut, kIn, 128, 0, rank * kIn});
    inputs.push_back(RandomTensor(random, DataType::kBFloat16, 5, kIn));
  }
  Tensor expected;
  for (int devices : {1, 2, 4, 8}) {
    if (devices > GetParam().most_devices) continue;
    Team team = MakeTeam(kRanks, devices).value();
    std::vector<Tensor> outs(devices);
    std::vector<std::thread> threads;
    for (int d = 0; d < devices; ++d) {
      threads.emplace_back([&, d] {
        Team::Device& device = team.devices[d];
        std::vector<Tensor> partials;
        std::vector<TensorView> views;
        for (int rank = device.first_rank; rank < device.first_rank + device.num_ranks; ++rank) {
          const auto packed = device.ops->Pack(shards[rank].matrix, DataType::kBFloat16);
          partials.emplace_back(DataType::kFloat32, 5, kOut);
          device.ops->Linear({inputs[rank].view, packed.get(), partials.back().view});
          views.push_back(partials.back().view);
        }
        outs[d] = Tensor(DataType::kFloat32, 5, kOut);
        device.collectives->AllReduceSum(views, outs[d].view);
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (devices == 1) expected = std::move(outs[0]);
    if (devices == 1) continue;
    for (const Tensor& out : outs) EXPECT_TRUE(SameBits(out.view, expected.view));
  }
}

BATON_CONFORMANCE_TESTS(TeamConformance);

}  // namespace
}  // namespace baton::kernels
