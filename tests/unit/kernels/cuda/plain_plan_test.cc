#include "kernels/cuda/plan/plain_plan.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

TEST(PlainPlan, LaunchesOfEveryModelFitTheDevice) {
  for (const ModelShape& model : kModelShapes) {
    const int64_t heads = model.heads / model.ranks;
    for (const int64_t tokens : kStepTokens) {
      for (const int64_t n : {model.hidden, model.q_lora, model.dense_width / model.ranks,
                              model.vocabulary / model.ranks}) {
        ExpectFits(model.name, PlainLinearLaunch(tokens, n, 1));
      }
      ExpectFits(model.name, PlainLinearLaunch(tokens, model.kv_lora, heads));
      ExpectFits(model.name, PlainNetworkLaunch(model.dense_width, NumBlocks(tokens, kTileRows)));
      ExpectFits(model.name, PlainAttentionLaunch(tokens, heads, model.kv_lora, model.rope));
    }
    ExpectFits(model.name, PlainNetworkLaunch(model.expert_width, model.experts));
  }
}

TEST(PlainPlan, NothingIsLaunchedForNothing) {
  EXPECT_TRUE(PlainLinearLaunch(0, 64, 1).empty());
  EXPECT_TRUE(PlainLinearLaunch(5, 0, 1).empty());
  // A shard of an expert that has nothing of its inner width.
  EXPECT_TRUE(PlainNetworkLaunch(0, 16).empty());
  EXPECT_TRUE(PlainAttentionLaunch(0, 16, 512, 64).empty());
  EXPECT_TRUE(PlainAttentionLaunch(5, 16, 0, 64).empty());
}

TEST(PlainPlan, MoreThanAGridHoldsIsRefused) {
  const auto fits = [](const LaunchShape& shape) {
    return CheckLaunch("plain", shape, kAnyDevice).ok();
  };
  EXPECT_TRUE(fits(PlainLinearLaunch(int64_t{65535} * kTileRows, 7168, 128)));
  EXPECT_FALSE(fits(PlainLinearLaunch(int64_t{65535} * kTileRows + 1, 7168, 128)));
  EXPECT_TRUE(fits(PlainAttentionLaunch(1, 128, 5632, 64)));
  EXPECT_FALSE(fits(PlainAttentionLaunch(1, 128, 6144, 64)));  // no room in shared memory
}

TEST(PlainPlan, EveryResultOfAProductHasAThread) {
  struct Product {
    int64_t rows, n, heads;
  };
  for (const Product& p : {Product{1, 1, 1}, {16, 64, 1}, {17, 65, 1}, {33, 130, 3}, {5, 576, 2}}) {
    Visits results(p.rows * p.n * p.heads);
    ForEachThread(PlainLinearLaunch(p.rows, p.n, p.heads), [&](const LaunchThread& thread) {
      const int64_t column = FirstTileColumn(thread) + TileColumn(thread.index);
      if (column >= p.n) return;
      for (int i = 0; i < kRowsPerThread; ++i) {
        const int64_t row = FirstTileRow(thread) + TileRow(thread.index, i);
        if (row < p.rows) results.Add((thread.block_z * p.rows + row) * p.n + column);
      }
    });
    results.ExpectOnceEach("results");
  }
}

TEST(PlainPlan, ATileIsCopiedOnceAndMultipliedOnce) {
  for (const int rows : {kTileColumns, kTileRows}) {
    Visits copies(rows * kTileDepth);
    for (int thread = 0; thread < kProductThreads; ++thread) {
      for (const int i : TileCopies(thread, rows)) copies.Add(i);
    }
    copies.ExpectOnceEach("copies");
  }
  Visits results(kTileRows * kTileColumns);
  for (int thread = 0; thread < kProductThreads; ++thread) {
    for (int i = 0; i < kRowsPerThread; ++i) {
      results.Add(TileRow(thread, i) * kTileColumns + TileColumn(thread));
    }
  }
  results.ExpectOnceEach("results of a tile");
}

TEST(PlainPlan, EveryElementOfKIsInOnePieceOfItsScaleBlock) {
  for (const int64_t block : {128, 32, 5}) {
    for (const int64_t offset : {int64_t{0}, int64_t{1}, block / 2, block - 1}) {
      for (const int64_t k : {0, 1, 31, 33, 127, 128, 129, 576, 7168}) {
        Visits depth(k);
        for (int64_t begin = 0, end = 0; begin < k; begin = end) {
          end = ScaleBlockEnd(begin, k, block, offset);
          ASSERT_GT(end, begin);
          EXPECT_EQ((offset + begin) / block, (offset + end - 1) / block) << "one scale";
          for (const int64_t piece : DepthPieces(begin, end)) {
            for (int64_t i = piece; i < std::min(piece + kTileDepth, end); ++i) depth.Add(i);
          }
        }
        depth.ExpectOnceEach("k");
      }
    }
  }
}

TEST(PlainPlan, RowsOfNetworksAndPassesAreTakenOnce) {
  // One network: a group per tile of rows. Experts: each group takes its rows tile by tile.
  for (const int64_t rows : {1, 16, 17, 300}) {
    Visits of_network(rows);
    ForEachThread(PlainNetworkLaunch(1, NumBlocks(rows, kTileRows)),
                  [&](const LaunchThread& thread) {
                    if (thread.index % kTileColumns != 0) return;
                    const int64_t end = std::min(FirstTileRow(thread) + kTileRows, rows);
                    for (const int64_t begin : RowTiles(FirstTileRow(thread), end)) {
                      for (int i = 0; i < kRowsPerThread; ++i) {
                        const int64_t row = begin + TileRow(thread.index, i);
                        if (row < end) of_network.Add(row);
                      }
                    }
                  });
    of_network.ExpectOnceEach("rows of a network");
    Visits of_expert(rows);
    for (const int64_t begin : RowTiles(7, 7 + rows)) {
      for (int64_t row = begin; row < std::min(begin + kTileRows, 7 + rows); ++row) {
        of_expert.Add(row - 7);
      }
    }
    of_expert.ExpectOnceEach("rows of an expert");
    Visits tokens(rows);
    for (const int64_t begin : PlainExpertPasses(rows)) {
      for (int64_t t = begin; t < std::min(begin + kPlainExpertTokens, rows); ++t) tokens.Add(t);
    }
    tokens.ExpectOnceEach("tokens of passes");
  }
}

TEST(PlainPlan, AttentionTakesEveryKeyAndDimensionOnce) {
  for (const int64_t end : {1, 63, 64, 511, 512, 513, 1500}) {
    Visits scored(end);
    Visits weighed(end);
    for (const int64_t begin : KeySplitBegins(end)) {
      const int64_t count = std::min(kAttentionSplitTokens, end - begin);
      ForEachThread({.block = kAttendThreads}, [&](const LaunchThread& thread) {
        for (const int64_t j : AttendSteps(thread, count)) weighed.Add(begin + j);
        if (thread.lane() != 0) return;
        for (const int64_t j : KeysOfWarp(thread, count)) scored.Add(begin + j);
      });
    }
    scored.ExpectOnceEach("keys");
    weighed.ExpectOnceEach("weights");
  }
  for (const int64_t dims : {1, 64, 80, 512, 576}) {
    Visits of_lanes(dims);
    for (int lane = 0; lane < kWarpThreads; ++lane) {
      for (const int64_t d : DimsOfLane({.index = kWarpThreads + lane}, dims)) of_lanes.Add(d);
    }
    of_lanes.ExpectOnceEach("dimensions");
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
