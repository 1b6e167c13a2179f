#include "kernels/host/shared_memory_collectives.h"

#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/host/team_split.h"

namespace baton::kernels {
namespace {

using Matrix = std::vector<float>;

// Runs `calls` all-reduces of `rows` x `columns` on a team; checks every device's every result.
void CheckAllReduce(int num_ranks, int num_devices, int64_t rows, int64_t columns, int calls) {
  const std::vector<int> first_ranks = SplitRanks(num_ranks, num_devices).value();
  auto ends = CreateSharedMemoryCollectives(num_ranks, first_ranks);
  // values[call][rank]
  std::vector<std::vector<Matrix>> values(calls, std::vector<Matrix>(num_ranks));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<Matrix> expected;
  for (auto& ranks : values) {
    Matrix sum(rows * columns);
    for (Matrix& matrix : ranks) {
      matrix.resize(rows * columns);
      for (float& value : matrix) value = normal(random);
    }
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i] = ranks[0][i];
      for (int rank = 1; rank < num_ranks; ++rank) sum[i] += ranks[rank][i];
    }
    expected.push_back(sum);
  }
  std::vector<std::vector<Matrix>> results(num_devices);
  std::vector<std::thread> threads;
  for (int device = 0; device < num_devices; ++device) {
    threads.emplace_back([&, device] {
      const int end = device + 1 < num_devices ? first_ranks[device + 1] : num_ranks;
      for (int call = 0; call < calls; ++call) {
        std::vector<TensorView> partials;
        std::vector<Matrix> copies(values[call].begin() + first_ranks[device],
                                   values[call].begin() + end);
        for (Matrix& copy : copies) partials.push_back(View(copy.data(), rows, columns));
        Matrix out(rows * columns);
        ends[device]->AllReduceSum(partials, View(out.data(), rows, columns));
        results[device].push_back(out);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int device = 0; device < num_devices; ++device) {
    for (int call = 0; call < calls; ++call) EXPECT_EQ(results[device][call], expected[call]);
  }
}

TEST(SharedMemoryCollectives, SumInRankOrderWhateverDeviceHoldsWhichRank) {
  for (int num_devices : {1, 2, 3, 4, 8}) CheckAllReduce(8, num_devices, 3, 37, 20);
}

TEST(SharedMemoryCollectives, SumLargeTensorsToo) {
  for (int num_devices : {1, 2, 3, 4, 8}) CheckAllReduce(8, num_devices, 67, 300, 3);
}

TEST(SharedMemoryCollectives, SumFewerLargeRowsThanDevices) { CheckAllReduce(4, 4, 2, 20000, 2); }

TEST(SharedMemoryCollectives, EmptyTensorsAreNoWork) { CheckAllReduce(4, 2, 0, 16, 3); }

template <typename T>
void CheckGather(int num_devices, int64_t rows, int64_t columns) {
  constexpr int kRanks = 4;
  const std::vector<int> first_ranks = SplitRanks(kRanks, num_devices).value();
  auto ends = CreateSharedMemoryCollectives(kRanks, first_ranks);
  std::vector<std::vector<T>> results(num_devices);
  std::vector<std::thread> threads;
  const auto element = [](int64_t row, int64_t column) {
    return FromFloat<T>(static_cast<float>(row % 16 * 8 + column % 8));
  };
  for (int device = 0; device < num_devices; ++device) {
    threads.emplace_back([&, device] {
      const int end = device + 1 < num_devices ? first_ranks[device + 1] : kRanks;
      std::vector<std::vector<T>> shards;
      std::vector<TensorView> views;
      for (int rank = first_ranks[device]; rank < end; ++rank) {
        std::vector<T>& shard = shards.emplace_back();
        for (int64_t i = 0; i < rows * columns; ++i) {
          shard.push_back(element(i / columns, rank * columns + i % columns));
        }
        views.push_back(View(shard.data(), rows, columns));
      }
      results[device].resize(rows * columns * kRanks);
      ends[device]->AllGatherColumns(views, View(results[device].data(), rows, columns * kRanks));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<T>& result : results) {
    for (int64_t i = 0; i < rows * columns * kRanks; ++i) {
      ASSERT_EQ(result[i], element(i / (columns * kRanks), i % (columns * kRanks))) << i;
    }
  }
}

TEST(SharedMemoryCollectives, GatherColumnsInRankOrder) {
  for (int num_devices : {1, 2, 4}) {
    CheckGather<float>(num_devices, 3, 5);
    CheckGather<BFloat16>(num_devices, 3, 5);
  }
}

TEST(SharedMemoryCollectives, GatherLargeTensorsToo) {
  for (int num_devices : {1, 2, 4}) CheckGather<float>(num_devices, 200, 301);
}

TEST(SharedMemoryCollectives, DifferentCallsMayFollowEachOther) {
  auto ends = CreateSharedMemoryCollectives(2, {0, 1});
  std::vector<int> mismatches(2);
  std::vector<std::thread> threads;
  for (int device = 0; device < 2; ++device) {
    threads.emplace_back([&, device] {
      for (int call = 0; call < 500; ++call) {
        const int64_t rows = call % 7 == 0 ? 400 : 1;  // both ways through
        Matrix mine(rows * 128, static_cast<float>(device + call));
        Matrix sum(rows * 128);
        const TensorView view = View(mine.data(), rows, 128);
        ends[device]->AllReduceSum({&view, 1}, View(sum.data(), rows, 128));
        mine.assign(mine.size(), -1.0f);  // a caller may reuse its partial at once
        Matrix gathered(rows * 256);
        const TensorView sum_view = View(sum.data(), rows, 128);
        ends[device]->AllGatherColumns({&sum_view, 1}, View(gathered.data(), rows, 256));
        for (float value : gathered) {
          if (value != static_cast<float>(2 * call + 1)) ++mismatches[device];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mismatches, (std::vector<int>{0, 0}));
}

}  // namespace
}  // namespace baton::kernels
