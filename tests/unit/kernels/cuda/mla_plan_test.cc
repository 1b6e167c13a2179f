#include "kernels/cuda/plan/mla_plan.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/plan/launch_shape.h"

namespace baton::kernels::cuda {
namespace {

TEST(MlaPlan, TilesTakeEveryRowOnceAndOneSequenceEach) {
  const std::vector<int32_t> sequences = {0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 4, 4};
  const int rows = static_cast<int>(sequences.size());
  for (const int rows_per_tile : {1, 2, 4, 8}) {
    std::vector<int> taken(rows, 0);
    for (int row = 0; row < rows; ++row) {
      if (!BeginsTile(sequences.data(), row, rows_per_tile)) continue;
      const int size = TileRows(sequences.data(), rows, row, rows_per_tile);
      EXPECT_LE(size, rows_per_tile);
      for (int r = row; r < row + size; ++r) {
        ++taken[r];
        EXPECT_EQ(sequences[r], sequences[row]);
      }
    }
    for (const int count : taken) EXPECT_EQ(count, 1);
  }
}

TEST(MlaPlan, SplitsReadEveryBlockUpToTheLastKey) {
  for (int position = 0; position < 3000; ++position) {
    int blocks = 0;
    for (int split = 0; split < KeySplits(position); ++split) {
      const int of_split = SplitBlocks(position, split);
      EXPECT_GE(of_split, 1);
      EXPECT_LE(of_split, kBlocksPerSplit);
      EXPECT_TRUE(split + 1 == KeySplits(position) || of_split == kBlocksPerSplit);
      blocks += of_split;
    }
    EXPECT_EQ(blocks, position / kMlaBlockTokens + 1);
  }
}

TEST(MlaPlan, HeadsFillTiles) {
  EXPECT_EQ(HeadsPerTile(16, 16), 16);
  EXPECT_EQ(RowsPerTile(16, 16), 1);
  EXPECT_EQ(RowsPerTile(16, 32), 2);
  EXPECT_EQ(HeadsPerTile(128, 32), 32);
  EXPECT_EQ(RowsPerTile(128, 32), 1);
  EXPECT_EQ(HeadsPerTile(12, 16), 12);
  EXPECT_EQ(RowsPerTile(4, 16), 4);
  for (int heads = 1; heads <= 128; ++heads) {
    for (const int columns : {16, 32}) {
      EXPECT_EQ(heads % HeadsPerTile(heads, columns), 0);
      EXPECT_LE(RowsPerTile(heads, columns) * HeadsPerTile(heads, columns), columns);
    }
  }
}

TEST(MlaPlan, SlotsNameTheColumnsOfTheRegisters) {
  for (int thread = 0; thread < 128; ++thread) {
    for (int i = 0; i < 16; ++i) {
      EXPECT_EQ(SlotColumn(thread % 32, ColumnSlot(i)), ResultElement(thread, i).column);
    }
  }
}

// Plays the transposing store of four 8 x 8 tiles and checks where each weight lands: row = column
// of the scores, 2 bytes per key.
template <class Tile>
void CheckStoredWeights() {
  std::map<uint32_t, std::pair<int, int>> stored;  // offset -> (key, column)
  for (int warp = 0; warp < 4; ++warp) {
    for (int j = 0; j < Tile::kColumns / 8; j += 2) {
      for (int tile = 0; tile < 4; ++tile) {
        for (int r = 0; r < 8; ++r) {
          for (int c = 0; c < 8; ++c) {
            // Register `tile` of lane 4 r + c / 2 packs scores 4 j + 2 tile and the next.
            const int lane = 4 * r + c / 2;
            const FragmentElement element =
                ResultElement(warp * 32 + lane, 4 * j + 2 * tile + c % 2);
            const WeightChunk chunk = StoredWeights(warp, 8 * tile + c, j);
            stored[SwizzledOffset(chunk.column, chunk.chunk * 16) + 2 * r] = {element.row,
                                                                              element.column};
          }
        }
      }
    }
  }
  ASSERT_EQ(stored.size(), 64u * Tile::kColumns);
  for (int column = 0; column < Tile::kColumns; ++column) {
    for (int key = 0; key < kMlaBlockTokens; ++key) {
      EXPECT_EQ(stored[SwizzledOffset(column, 2 * key)], std::make_pair(key, column));
    }
  }
}

TEST(MlaPlan, WeightsAreStoredTransposed) {
  CheckStoredWeights<MlaTile<16>>();
  CheckStoredWeights<MlaTile<32>>();
}

template <class Tile>
void CheckShared() {
  EXPECT_EQ(Tile::kStageBytes, 64 * kKeyDims * 2);
  EXPECT_EQ(Tile::kQueriesOffset % kAtomBytes, 0);
  EXPECT_EQ(Tile::kQueryChunkBytes % kAtomBytes, 0);
  EXPECT_EQ(Tile::kWeightsOffset % kAtomBytes, 0);
  EXPECT_EQ(Tile::kExchangeOffset % 16, 0);
  const LaunchShape shape = {
      .grid_x = 132, .grid_y = 8, .block = kMlaThreads, .shared_bytes = Tile::kSharedBytes};
  EXPECT_TRUE(CheckLaunch("mla", shape, kHopper).ok());
}

TEST(MlaPlan, SharedMemoryFitsTheDevice) {
  CheckShared<MlaTile<16>>();
  CheckShared<MlaTile<32>>();
  EXPECT_LE(kMlaConsumerThreads * kMlaConsumerRegisters +
                (kMlaThreads - kMlaConsumerThreads) * kMlaCopyRegisters,
            65536);
}

TEST(MlaPlan, ResultsOfASplitHaveAPlaceEach) {
  EXPECT_EQ(PartialFloats(16), 512 * 16 + 2 * 16);
  EXPECT_EQ(PartialFloats(32), 512 * 32 + 2 * 32);
  EXPECT_EQ(SequenceFloats(32), 512 * 32 + 2 * 8 * 128);
}

}  // namespace
}  // namespace baton::kernels::cuda
