#include "services/stage_worker/model/attention_block.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fakes/toy_device.h"

namespace baton::stage {
namespace {

constexpr int64_t kLayer = 1;
constexpr int32_t kLength = 70;  // over the edge of a block

// Attention of positions [0, kLength) in chunks; the summed rows, one after the other.
std::vector<std::vector<float>> RunInChunks(fakes::ToyDevice& device, int32_t chunk) {
  std::vector<std::vector<float>> out;
  for (int32_t begin = 0; begin < kLength; begin += chunk) {
    const int32_t count = std::min(chunk, kLength - begin);
    const StepRows rows = device.Rows(begin, std::vector<uint32_t>(count));
    device.FillNormed(begin, count);
    RunAttention(device.context(), rows, device.weights().layers[kLayer],
                 device.cache().Layer(kLayer));
    for (int32_t row = 0; row < count; ++row) {
      out.push_back(fakes::ToyDevice::RowOf(device.workspace().summed, row));
    }
  }
  return out;
}

void FillCache(fakes::ToyDevice& device, float value) {
  const TensorView pages = device.cache().Layer(kLayer).pages;
  for (int64_t row = 0; row < pages.rows; ++row) {
    std::fill_n(pages.Row<float>(row), pages.columns, value);
  }
}

TEST(RunAttention, GivesTheSameBitsInChunksOfAnySize) {
  fakes::ToyDevice device(2);
  const auto whole = RunInChunks(device, kLength);
  EXPECT_EQ(RunInChunks(device, 1), whole);
  EXPECT_EQ(RunInChunks(device, 7), whole);
}

TEST(RunAttention, NeverReadsWhatTheSequenceDidNotWrite) {
  fakes::ToyDevice device(2);
  const auto clean = RunInChunks(device, 16);
  FillCache(device, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(RunInChunks(device, 16), clean);
}

TEST(RunAttention, SumsTheHeadsOfAllRanks) {
  fakes::ToyDevice one(1);
  fakes::ToyDevice three(3);
  const auto whole = RunInChunks(one, kLength);
  const auto sharded = RunInChunks(three, kLength);
  for (size_t row = 0; row < whole.size(); ++row) {
    for (size_t i = 0; i < whole[row].size(); ++i) {
      ASSERT_NEAR(sharded[row][i], whole[row][i], 1e-4 * (1.0 + std::abs(whole[row][i])));
    }
  }
}

}  // namespace
}  // namespace baton::stage
