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

// Attention of positions [0, kLength) in chunks, those before `expanded_end` in the expanded form;
// the summed rows, one after the other.
std::vector<std::vector<float>> RunInChunks(fakes::ToyDevice& device, int32_t chunk,
                                            int32_t expanded_end = 0) {
  std::vector<std::vector<float>> out;
  for (int32_t begin = 0; begin < kLength; begin += chunk) {
    const int32_t count = std::min(chunk, kLength - begin);
    StepRows rows = device.Rows(begin, std::vector<uint32_t>(count));
    const RowRange expanded = {0, std::min(count, expanded_end - begin)};
    if (expanded.end > 0) rows.expanded_rows = {&expanded, 1};
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

TEST(RunAttention, GivesTheSameBitsInChunksOfAnySizeInBothForms) {
  fakes::ToyDevice device(2);
  const auto whole = RunInChunks(device, kLength, 64);
  EXPECT_EQ(RunInChunks(device, 1, 64), whole);
  EXPECT_EQ(RunInChunks(device, 7, 64), whole);
}

TEST(RunAttention, IsTheSameFunctionInBothForms) {
  fakes::ToyDevice device(3);
  const auto absorbed = RunInChunks(device, kLength);
  const auto expanded = RunInChunks(device, kLength, 64);
  EXPECT_NE(expanded, absorbed) << "rounded as if no row were expanded";
  for (size_t row = 0; row < absorbed.size(); ++row) {
    for (size_t i = 0; i < absorbed[row].size(); ++i) {
      ASSERT_NEAR(expanded[row][i], absorbed[row][i], 1e-4 * (1.0 + std::abs(absorbed[row][i])));
    }
  }
}

TEST(RunAttention, TakesRangesOfExpandedRowsAmongOthers) {
  fakes::ToyDevice device(1);
  const auto whole = RunInChunks(device, kLength, 64);
  const auto absorbed = RunInChunks(device, kLength);
  // Rows of the same sequence, with those of one form between those of the other.
  StepRows rows = device.Rows(0, std::vector<uint32_t>(kLength));
  const RowRange expanded[] = {{3, 10}, {20, 64}};
  rows.expanded_rows = expanded;
  device.FillNormed(0, kLength);
  RunAttention(device.context(), rows, device.weights().layers[kLayer],
               device.cache().Layer(kLayer));
  for (int32_t row = 0; row < kLength; ++row) {
    const bool in_range = (row >= 3 && row < 10) || (row >= 20 && row < 64);
    EXPECT_EQ(fakes::ToyDevice::RowOf(device.workspace().summed, row),
              in_range ? whole[row] : absorbed[row])
        << row;
  }
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
