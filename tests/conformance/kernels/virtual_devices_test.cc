// The exchange between devices, run by the blocks of one launch on one GPU.
#include "tests/conformance/kernels/virtual_devices.h"

#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/cuda_backend.h"

namespace baton::kernels::cuda {
namespace {

std::vector<std::vector<float>> OrderedParts(int num_ranks, int64_t count) {
  std::vector<std::vector<float>> parts(num_ranks);
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (int64_t e = 0; e < count; ++e) {
      const auto mixed = static_cast<uint32_t>(e * 2654435761u + rank * 40503u);
      parts[rank].push_back(static_cast<float>(mixed % 8191) / 7.0f - 500.0f);
    }
  }
  return parts;
}

void ExpectVirtualSums(const std::vector<int>& ranks_of_devices, int64_t count, bool two_shots,
                       bool captured) {
  int num_ranks = 0;
  for (const int ranks : ranks_of_devices) num_ranks += ranks;
  const auto parts = OrderedParts(num_ranks, count);
  const VirtualSums sums =
      SumOnVirtualDevices(ranks_of_devices, parts, two_shots, captured, /*num_calls=*/50);
  ASSERT_EQ(sums.error, nullptr) << sums.error;
  std::vector<float> expected = parts[0];
  for (int rank = 1; rank < num_ranks; ++rank) {
    for (int64_t e = 0; e < count; ++e) expected[e] += parts[rank][e];
  }
  for (const std::vector<float>& result : sums.of_devices) EXPECT_EQ(result, expected);
}

class VirtualDevices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (auto backend = CreateCudaBackend(); !backend.ok()) GTEST_SKIP() << backend.status();
  }
};

TEST_F(VirtualDevices, AddInOneShot) {
  ExpectVirtualSums({1, 1, 1, 1, 1, 1, 1, 1}, 7168, false, false);
  ExpectVirtualSums({3, 2, 3}, 4321, false, false);
}

TEST_F(VirtualDevices, AddInTwoShots) {
  ExpectVirtualSums({1, 1, 1, 1, 1, 1, 1, 1}, 64 * 7168, true, false);
  ExpectVirtualSums({3, 2, 3}, 4321, true, false);
}

TEST_F(VirtualDevices, CountOnInACapturedGraph) {
  ExpectVirtualSums({1, 1, 1, 1, 1, 1, 1, 1}, 7168, false, true);
  ExpectVirtualSums({2, 2, 2, 2}, 64 * 7168, true, true);
}

}  // namespace
}  // namespace baton::kernels::cuda
