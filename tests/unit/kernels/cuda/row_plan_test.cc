#include "kernels/cuda/plan/row_plan.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kMostRows = 2147483647;  // blocks along x

constexpr int64_t kWidths[] = {1,   2,   7,   63,  127,  128,  129, 255,
                               256, 257, 512, 576, 1000, 1536, 7168};

TEST(RowPlan, LaunchesOfEveryModelFitTheDevice) {
  for (const ModelShape& model : kModelShapes) {
    const int64_t heads = model.heads / model.ranks;
    for (const int64_t tokens : kStepTokens) {
      for (const int64_t width : {model.hidden, model.q_lora, model.kv_lora}) {
        ExpectFits(model.name, NormLaunch(tokens, width));
        EXPECT_EQ(NormLaunch(tokens, width).grid_x, tokens);
      }
      ExpectFits(model.name, ElementsLaunch(tokens, model.hidden));
      for (const int64_t width : {model.hidden, model.q_lora, heads * 128}) {
        ExpectFits(model.name, QuantiseLaunch(tokens, width));
      }
      ExpectFits(model.name, RopeLaunch(tokens, heads, model.rope));
      ExpectFits(model.name, RopeLaunch(tokens, 1, model.rope));
      ExpectFits(model.name, KvWriteLaunch(tokens, model.kv_lora + model.rope));
    }
  }
}

TEST(RowPlan, NothingIsLaunchedForNothing) {
  for (const int64_t tokens : {0, 5}) {
    const int64_t width = tokens == 0 ? 256 : 0;
    EXPECT_TRUE(NormLaunch(tokens, width).empty());
    EXPECT_TRUE(ElementsLaunch(tokens, width).empty());
    EXPECT_TRUE(QuantiseLaunch(tokens, width).empty());
    EXPECT_TRUE(RopeLaunch(tokens, 1, width).empty());
    EXPECT_TRUE(KvWriteLaunch(tokens, width).empty());
  }
  EXPECT_TRUE(RopeLaunch(5, 0, 64).empty());
}

TEST(RowPlan, MoreThanAGridHoldsIsRefused) {
  const auto fits = [](const LaunchShape& shape) {
    return CheckLaunch("rows", shape, kAnyDevice).ok();
  };
  EXPECT_TRUE(fits(NormLaunch(kMostRows, 7168)));
  EXPECT_FALSE(fits(NormLaunch(kMostRows + 1, 7168)));
  EXPECT_TRUE(fits(QuantiseLaunch(kMostRows, 7168)));
  EXPECT_FALSE(fits(KvWriteLaunch(int64_t{1} << 33, 576)));
  EXPECT_TRUE(fits(ElementsLaunch(1, int64_t{65535} * kElementThreads)));
  EXPECT_FALSE(fits(ElementsLaunch(1, int64_t{65535} * kElementThreads + 1)));
  // Rows far behind those that 32 bits of elements reach.
  const LaunchThread last = {.block_x = kMostRows - 1, .block_y = 27, .index = kElementThreads - 1};
  EXPECT_EQ(ElementOf(last).row, kMostRows - 1);
  EXPECT_EQ(ElementOf(last).column, 7167);
}

TEST(RowPlan, NormsTakeEveryColumnOnce) {
  for (const int64_t width : kWidths) {
    Visits columns(3 * width);
    ForEachThread(NormLaunch(3, width), [&](const LaunchThread& thread) {
      for (const int64_t column : NormColumns(thread, width)) {
        columns.Add(thread.block_x * width + column);
      }
    });
    columns.ExpectOnceEach("norm");
  }
}

TEST(RowPlan, EveryElementHasAThread) {
  for (const int64_t width : kWidths) {
    Visits elements(3 * width);
    ForEachThread(ElementsLaunch(3, width), [&](const LaunchThread& thread) {
      const RowColumn at = ElementOf(thread);
      if (at.column < width) elements.Add(at.row * width + at.column);
    });
    elements.ExpectOnceEach("elements");
  }
}

TEST(RowPlan, QuantisationTakesEveryColumnAndWritesEveryScaleOnce) {
  for (const int64_t width : {128, 256, 896, 1024, 1152, 1536, 2048, 7168, 18432}) {
    Visits columns(3 * width);
    Visits scales(3 * width / kGroupColumns);
    ForEachThread(QuantiseLaunch(3, width), [&](const LaunchThread& thread) {
      const GroupOfColumns at = GroupOf(thread);
      if (!at.IsIn(width)) return;
      for (int i = 0; i < kLaneColumns; ++i) {
        // Only columns of the warp's group go into its scale.
        EXPECT_EQ((at.first_column + i) / kGroupColumns, at.group);
        columns.Add(at.row * width + at.first_column + i);
      }
      if (thread.lane() == 0) scales.Add(at.group * 3 + at.row);
    });
    columns.ExpectOnceEach("codes");
    scales.ExpectOnceEach("scales");
  }
}

TEST(RowPlan, RopeTurnsThePairsOfAllHeadsAndNothingElse) {
  struct Heads {
    int64_t heads, dims, stride;
  };
  for (const Heads& h : {Heads{16, 64, 192},
                         {128, 64, 192},
                         {1, 64, 0},
                         {1, 64, 64},
                         {8, 16, 48},
                         {3, 2, 2},
                         {5, 6, 11}}) {
    std::vector<int> turned(static_cast<size_t>((h.heads - 1) * h.stride + h.dims));
    std::vector<int> angles(static_cast<size_t>(h.dims));
    ForEachThread(RopeLaunch(1, h.heads, h.dims), [&](const LaunchThread& thread) {
      for (const int64_t pair : RopePairs(thread, h.heads, h.dims)) {
        const RopePair at = RopePairAt(pair, h.dims, h.stride);
        for (const int64_t i : {0, 1}) {
          ++turned.at(static_cast<size_t>(at.column + i));
          ++angles.at(static_cast<size_t>(at.angle + i));
        }
        // Pair i of a head is turned by angle i.
        EXPECT_EQ(h.stride == 0 ? at.column : at.column % h.stride, at.angle);
      }
    });
    for (size_t column = 0; column < turned.size(); ++column) {
      const int64_t in_head =
          h.stride == 0 ? static_cast<int64_t>(column) : static_cast<int64_t>(column) % h.stride;
      ASSERT_EQ(turned[column], in_head < h.dims ? 1 : 0) << column;
    }
    for (const int count : angles) EXPECT_EQ(count, h.heads);
  }
}

TEST(RowPlan, CacheWritesTakeEveryColumnOnce) {
  for (const int64_t width : {512 + 64, 64 + 16, 1, 127, 129}) {
    Visits columns(3 * width);
    ForEachThread(KvWriteLaunch(3, width), [&](const LaunchThread& thread) {
      for (const int64_t column : KvColumns(thread, width)) {
        columns.Add(thread.block_x * width + column);
      }
    });
    columns.ExpectOnceEach("cache row");
  }
}

TEST(RowPlan, PositionsHaveACacheRowEachInTheirSequencesBlocks) {
  constexpr int64_t kBlocks = 40;
  std::vector<int32_t> tables(kBlocks);  // of four sequences of ten blocks
  std::iota(tables.begin(), tables.end(), 0);
  std::shuffle(tables.begin(), tables.end(), std::mt19937(5));
  Visits rows(kBlocks * kBlockTokens);
  for (int64_t sequence = 0; sequence < 4; ++sequence) {
    const int32_t* blocks = tables.data() + sequence * 10;
    for (int64_t position = 0; position < 10 * kBlockTokens; ++position) {
      const int64_t row = CacheRow(blocks, position);
      EXPECT_EQ(row / kBlockTokens, blocks[position / kBlockTokens]);
      rows.Add(row);
    }
  }
  rows.ExpectOnceEach("cache");
  // The last block that 32 bits can name.
  const int32_t far = 2147483647;
  EXPECT_EQ(CacheRow(&far, 63), int64_t{2147483647} * 64 + 63);
}

TEST(RowPlan, EveryTokenIsInOneShardOfTheVocabulary) {
  for (const ModelShape& model : kModelShapes) {
    const int64_t share = model.vocabulary / model.ranks;
    Visits tokens(model.vocabulary);
    for (int64_t rank = 0; rank < model.ranks; ++rank) {
      Visits rows(share);
      for (int64_t id = 0; id < model.vocabulary; ++id) {
        const int64_t row = EmbeddingRow(static_cast<uint32_t>(id), rank * share, share);
        if (row < 0) continue;
        rows.Add(row);
        tokens.Add(id);
      }
      rows.ExpectOnceEach("rows of a shard");
    }
    tokens.ExpectOnceEach("tokens");
    EXPECT_EQ(EmbeddingRow(4294967295u, 0, model.vocabulary), -1);
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
