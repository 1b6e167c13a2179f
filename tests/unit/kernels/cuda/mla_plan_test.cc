#include "kernels/cuda/plan/mla_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/plan/launch_shape.h"
#include "tests/conformance/kernels/latent_attention_cases.h"

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
}

TEST(MlaPlan, RolesShareOutTheRegistersThatTheKernelStartsWith) {
  EXPECT_EQ(kMlaFirstRegisters, 168);  // compiled_kernels_test.py holds the kernels to it
  EXPECT_EQ(kMlaConsumerThreads * kMlaConsumerRegisters +
                (kMlaThreads - kMlaConsumerThreads) * kMlaCopyRegisters,
            kMlaThreads * kMlaFirstRegisters);
}

TEST(MlaPlan, ResultsOfASplitHaveAPlaceEach) {
  EXPECT_EQ(PartialFloats(16), 512 * 16 + 2 * 16);
  EXPECT_EQ(PartialFloats(32), 512 * 32 + 2 * 32);
  EXPECT_EQ(SequenceFloats(32), 512 * 32 + 2 * 8 * 128);
}

using Ways = std::set<std::string>;

// What a tile of `rows` rows from `first` on makes the kernels do.
void NoteTile(const LatentAttentionCase& step, int first, int rows, int rows_per_tile, Ways& ways) {
  const int32_t sequence = step.sequence_rows[first];
  if (sequence < 0) {
    ways.insert(rows > 1 ? "padding of several rows" : "padding of one row");
    ways.insert(first == 0                    ? "padding in front"
                : first + rows == step.rows() ? "padding at the end"
                                              : "padding in between");
    return;
  }
  if (rows == rows_per_tile) {
    ways.insert(rows > 1 ? "full tile of several rows" : "tile of one row");
  } else {
    ways.insert(first % rows_per_tile != 0 ? "tile that begins late" : "tile that ends early");
  }
  const int last = step.positions[first + rows - 1];
  for (int row = first; row < first + rows; ++row) {
    const int position = step.positions[row];
    if (position / kMlaBlockTokens < last / kMlaBlockTokens) ways.insert("row without last block");
    if (KeySplits(position) < KeySplits(last)) ways.insert("row without last split");
  }
  if (last % kMlaBlockTokens == 0) ways.insert("last block of one key");
  if (last % kMlaBlockTokens == kMlaBlockTokens - 1) ways.insert("last block full");
  ways.insert("splits " + std::to_string(KeySplits(last)));
  for (int split = 0; split < KeySplits(last); ++split) {
    ways.insert("blocks " + std::to_string(SplitBlocks(last, split)));
  }
}

void NoteStep(const LatentAttentionCase& step, Ways& ways) {
  const bool sequential = step.rows() > kMaxSplitRows;
  const std::string schedule = sequential ? "sequential" : "side by side";
  const int columns = TileColumns(step.heads, sequential);
  const int rows_per_tile = RowsPerTile(step.heads, columns);
  ways.insert(schedule + ", " + std::to_string(columns) + " columns");
  ways.insert(schedule + (step.heads > columns ? ", groups of heads" : ", one group of heads"));
  ways.insert(schedule + ", tiles of " + std::to_string(rows_per_tile));
  if (RowsPerTile(step.heads, columns) * HeadsPerTile(step.heads, columns) < columns) {
    ways.insert("columns without a query");
  }
  int work = 0;
  for (int row = 0; row < step.rows(); ++row) {
    if (!BeginsTile(step.sequence_rows.data(), row, rows_per_tile)) continue;
    const int rows = TileRows(step.sequence_rows.data(), step.rows(), row, rows_per_tile);
    NoteTile(step, row, rows, rows_per_tile, ways);
    if (!sequential && step.sequence_rows[row] >= 0) {
      work += KeySplits(step.positions[row + rows - 1]);
    }
  }
  if (sequential) work = (step.rows() + rows_per_tile - 1) / rows_per_tile;
  ways.insert(schedule + (work > kHopper.num_multiprocessors ? ", blocks work several times"
                                                             : ", blocks without work"));
}

// No GPU has run the kernels yet: what the conformance tests will make them do when one does.
TEST(MlaPlan, ConformanceCasesTakeEveryWay) {
  Ways ways;
  for (const LatentAttentionCase& step : LatentAttentionCases()) {
    ASSERT_EQ(step.positions.size(), step.sequence_rows.size());
    NoteStep(step, ways);
  }
  const Ways expected = {"side by side, 16 columns",
                         "side by side, 32 columns",
                         "sequential, 32 columns",
                         "side by side, one group of heads",
                         "side by side, groups of heads",
                         "sequential, one group of heads",
                         "sequential, groups of heads",
                         "side by side, tiles of 1",
                         "side by side, tiles of 2",
                         "side by side, tiles of 4",
                         "side by side, tiles of 8",
                         "sequential, tiles of 1",
                         "sequential, tiles of 4",
                         "sequential, tiles of 16",
                         "side by side, blocks work several times",
                         "side by side, blocks without work",
                         "sequential, blocks work several times",
                         "sequential, blocks without work",
                         "columns without a query",
                         "full tile of several rows",
                         "tile of one row",
                         "tile that begins late",
                         "tile that ends early",
                         "row without last block",
                         "row without last split",
                         "last block of one key",
                         "last block full",
                         "padding of several rows",
                         "padding of one row",
                         "padding in front",
                         "padding in between",
                         "padding at the end",
                         "splits 1",
                         "splits 2",
                         "splits 3",
                         "splits 4",
                         "splits 5",
                         "blocks 1",
                         "blocks 2",
                         "blocks 3",
                         "blocks 4",
                         "blocks 8"};
  for (const std::string& way : expected) EXPECT_TRUE(ways.contains(way)) << way;
}

TEST(MlaPlan, CasesThatEveryBackendRunsTakeBothSchedules) {
  Ways ways;
  for (const LatentAttentionCase& step : LatentAttentionCases()) {
    if (!step.for_gpus) NoteStep(step, ways);
  }
  for (const char* way : {"side by side, 16 columns", "side by side, 32 columns",
                          "sequential, 32 columns", "splits 5", "row without last split"}) {
    EXPECT_TRUE(ways.contains(way)) << way;
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
