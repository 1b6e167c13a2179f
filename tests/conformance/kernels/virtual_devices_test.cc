// The exchange between devices, run by the blocks of one launch on one GPU.
#include "tests/conformance/kernels/virtual_devices.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/cuda_backend.h"

namespace baton::kernels::cuda {
namespace {

// Parts whose sum depends on its order, others in every call.
std::vector<std::vector<float>> OrderedParts(int num_ranks, int64_t count, int call) {
  std::vector<std::vector<float>> parts(num_ranks);
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (int64_t e = 0; e < count; ++e) {
      const auto mixed = static_cast<uint32_t>(e * 2654435761u + rank * 40503u + call * 977u);
      parts[rank].push_back(static_cast<float>(mixed % 8191) / 7.0f - 500.0f);
    }
  }
  return parts;
}

// Sums in both ways and gathers in turn. 27 tickets: a second run finds them in the other slots.
std::vector<VirtualCall> MixedCalls(int num_ranks, const std::vector<int64_t>& counts) {
  constexpr VirtualCallKind kKinds[] = {VirtualCallKind::kSumInOneShot,
                                        VirtualCallKind::kSumInTwoShots, VirtualCallKind::kGather};
  std::vector<VirtualCall> calls;
  for (int call = 0; call < 20; ++call) {
    const int64_t count = counts[call % counts.size()];
    calls.push_back({kKinds[call % 3], OrderedParts(num_ranks, count, call)});
  }
  return calls;
}

std::vector<float> ResultOf(const VirtualCall& call, int64_t columns) {
  std::vector<float> result;
  if (call.kind == VirtualCallKind::kGather) {
    const auto count = static_cast<int64_t>(call.parts[0].size());
    for (int64_t first = 0; first < count; first += columns) {
      for (const std::vector<float>& part : call.parts) {
        result.insert(result.end(), part.begin() + first, part.begin() + first + columns);
      }
    }
    return result;
  }
  result = call.parts[0];
  for (size_t rank = 1; rank < call.parts.size(); ++rank) {
    for (size_t e = 0; e < result.size(); ++e) result[e] += call.parts[rank][e];
  }
  return result;
}

class VirtualDevices : public ::testing::TestWithParam<VirtualLaunch> {
 protected:
  void SetUp() override {
    if (auto backend = CreateCudaBackend(); !backend.ok()) GTEST_SKIP() << backend.status();
  }

  static void ExpectResults(const std::vector<int>& ranks_of_devices,
                            const std::vector<int64_t>& counts, int64_t columns) {
    int num_ranks = 0;
    for (const int ranks : ranks_of_devices) num_ranks += ranks;
    const std::vector<VirtualCall> calls = MixedCalls(num_ranks, counts);
    constexpr int kRuns = 3;
    const VirtualResults results =
        RunOnVirtualDevices(ranks_of_devices, calls, columns, GetParam(), kRuns);
    ASSERT_EQ(results.error, nullptr) << results.error;
    ASSERT_EQ(results.of_calls.size(), kRuns * calls.size());
    for (size_t i = 0; i < results.of_calls.size(); ++i) {
      const std::vector<float> expected = ResultOf(calls[i % calls.size()], columns);
      ASSERT_EQ(results.of_calls[i].size(), ranks_of_devices.size());
      for (size_t device = 0; device < ranks_of_devices.size(); ++device) {
        EXPECT_TRUE(results.of_calls[i][device] == expected)
            << "device " << device << ", call " << i % calls.size() << " of run "
            << i / calls.size();
      }
    }
  }
};

// Every second device moves four elements at a time.
TEST_P(VirtualDevices, AddAndGatherInFoursAndOnes) {
  const std::vector<int64_t> counts = {7168, 12, 64 * 7168, 1200, 4, 28672, 256};
  ExpectResults({1, 1, 1, 1, 1, 1, 1, 1}, counts, 4);
  ExpectResults({3, 2, 3}, counts, 4);
}

TEST_P(VirtualDevices, AddAndGatherOddCounts) {
  const std::vector<int64_t> counts = {4321, 1, 7, 65537, 63, 1000, 3};
  ExpectResults({1, 1, 1, 1, 1, 1, 1, 1}, counts, 1);
  ExpectResults({3, 2, 3}, counts, 1);
}

INSTANTIATE_TEST_SUITE_P(Launches, VirtualDevices,
                         ::testing::Values(VirtualLaunch::kOneEach, VirtualLaunch::kCaptured,
                                           VirtualLaunch::kTogether));

}  // namespace
}  // namespace baton::kernels::cuda
