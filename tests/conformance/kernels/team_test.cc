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

// Sums of tensors below and above the size from which devices share the work of adding up.
TEST_P(TeamConformance, AddsAndGathersTheSameBitsWhateverTheSize) {
  constexpr int kRanks = 8;
  for (const int64_t rows : {1, 5, 40}) {
    Random random(7);
    std::vector<Tensor> partials;
    for (int rank = 0; rank < kRanks; ++rank) {
      partials.push_back(RandomTensor(random, DataType::kFloat32, rows, 7168));
    }
    Tensor sum;
    Tensor gathered;
    for (int devices : {1, 2, 3, 8}) {
      if (devices > GetParam().most_devices) continue;
      Team team = MakeTeam(kRanks, devices).value();
      std::vector<Tensor> sums(devices);
      std::vector<Tensor> gathers(devices);
      std::vector<std::thread> threads;
      for (int d = 0; d < devices; ++d) {
        threads.emplace_back([&, d] {
          Team::Device& device = team.devices[d];
          std::vector<TensorView> views;
          for (int i = 0; i < device.num_ranks; ++i) {
            views.push_back(partials[device.first_rank + i].view);
          }
          sums[d] = Tensor(DataType::kFloat32, rows, 7168);
          gathers[d] = Tensor(DataType::kFloat32, rows, kRanks * 7168);
          device.collectives->AllReduceSum(views, sums[d].view);
          device.collectives->AllGatherColumns(views, gathers[d].view);
        });
      }
      for (std::thread& thread : threads) thread.join();
      if (devices == 1) {
        sum = std::move(sums[0]);
        gathered = std::move(gathers[0]);
        for (int64_t e = 0; e < 7168; e += 97) {
          float expected = partials[0].view.Row<float>(rows - 1)[e];
          for (int rank = 1; rank < kRanks; ++rank) {
            expected += partials[rank].view.Row<float>(rows - 1)[e];
          }
          EXPECT_EQ(sum.view.Row<float>(rows - 1)[e], expected);
          EXPECT_EQ(gathered.view.Row<float>(rows - 1)[5 * 7168 + e],
                    partials[5].view.Row<float>(rows - 1)[e]);
        }
        continue;
      }
      for (const Tensor& out : sums) EXPECT_TRUE(SameBits(out.view, sum.view));
      for (const Tensor& out : gathers) EXPECT_TRUE(SameBits(out.view, gathered.view));
    }
  }
}

BATON_CONFORMANCE_TESTS(TeamConformance);

}  // namespace
}  // namespace baton::kernels
