// Tiles, splits and shared memory of latent attention: plain arithmetic, checked on the host.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/tile_layout.h"

namespace baton::kernels::cuda {

inline constexpr int kLatentDims = 512;
inline constexpr int kRopeKeyDims = 64;
inline constexpr int kKeyDims = kLatentDims + kRopeKeyDims;
inline constexpr int kMlaBlockTokens = 64;
inline constexpr int kMlaSplitTokens = 512;
inline constexpr int kBlocksPerSplit = kMlaSplitTokens / kMlaBlockTokens;
inline constexpr int kMlaConsumerThreads = 256;                // two warpgroups
inline constexpr int kMlaThreads = kMlaConsumerThreads + 128;  // and one for copies
// Registers per thread: when the kernel starts (a multiprocessor's 65536 for 384 threads, in
// eights), and of each role after they have traded them: no more in all, or who grows waits for
// ever.
inline constexpr int kMlaFirstRegisters = 65536 / kMlaThreads / 8 * 8;  // 168
inline constexpr int kMlaConsumerRegisters = 232;
inline constexpr int kMlaCopyRegisters = 40;
inline constexpr int kMaxSplitRows = 1024;  // rows of a step whose splits run side by side
inline constexpr int kLatentTiles = kLatentDims / 64;

// Shared memory of a block, from a multiple of 1024 bytes. A chunk is 64 columns wide: rows of 128
// bytes in the 128-byte swizzle.
//   keys      [2 stages][9 chunks][64 tokens][128]
//   queries   [9 chunks][columns][128]
//   weights   [2 warpgroups][columns][128]           probabilities of 64 tokens, bfloat16
//   exchange  [kPassRegisters][128 threads] float32  the second warpgroup's sums, in passes
//   maxima    [2][4 warps][columns], sums likewise, first maxima [2][columns]   float32
//   first     [kMaxSplitRows + 1] int32              splits of tiles before each row
//   full[2], empty[2]                                barriers
// Columns are pairs of a query row and a head.
template <int kColumnsOfTile>
struct MlaTile {
  static constexpr int kColumns = kColumnsOfTile;
  static constexpr int kStages = 2;
  static constexpr int kChunks = kKeyDims / 64;
  static constexpr int kChunkBytes = kMlaBlockTokens * kAtomRowBytes;
  static constexpr int kStageBytes = kChunks * kChunkBytes;
  static constexpr int kQueryChunkBytes = kColumns * kAtomRowBytes;
  static constexpr int kPassRegisters = 32;
  // Registers of a thread that hold sums: kLatentTiles x kColumns / 2.
  static constexpr int kTileRegisters = kColumns / 2;
  static constexpr int kSumRegisters = kLatentTiles * kTileRegisters;
  static constexpr int kTilesPerPass = kPassRegisters / kTileRegisters;

  static constexpr int kQueriesOffset = kStages * kStageBytes;
  static constexpr int kWeightsOffset = kQueriesOffset + kChunks * kQueryChunkBytes;
  static constexpr int kExchangeOffset = kWeightsOffset + 2 * kQueryChunkBytes;
  static constexpr int kMaximaOffset = kExchangeOffset + kPassRegisters * 128 * 4;
  static constexpr int kSumsOffset = kMaximaOffset + 2 * 4 * kColumns * 4;
  static constexpr int kGroupMaximaOffset = kSumsOffset + 2 * 4 * kColumns * 4;
  static constexpr int kFirstOffset = kGroupMaximaOffset + 2 * kColumns * 4;
  static constexpr int kBarriersOffset = kFirstOffset + (kMaxSplitRows + 8) * 4;
  static constexpr int kUsedBytes = kBarriersOffset + 2 * kStages * 8;
  static constexpr int kSharedBytes = kUsedBytes + kAtomBytes;

  static_assert(kColumns == 16 || kColumns == 32);
  static_assert(kSumRegisters % kPassRegisters == 0 && kBarriersOffset % 8 == 0);
};

// Heads that share a tile: the largest divisor of `heads` that fits its columns.
BATON_HOST_DEVICE constexpr int HeadsPerTile(int heads, int columns) {
  int best = 1;
  for (int h = 1; h <= columns && h <= heads; ++h) {
    if (heads % h == 0) best = h;
  }
  return best;
}

// Columns of a tile: 32 where one row's heads fill them or rows share tiles, else 16.
BATON_HOST_DEVICE constexpr int TileColumns(int heads, bool share_tiles) {
  return heads % 32 == 0 || share_tiles ? 32 : 16;
}

// Column c of a tile is query row c / heads_per_tile of the tile, head c % heads_per_tile of the
// group.
BATON_HOST_DEVICE constexpr int RowsPerTile(int heads, int columns) {
  return columns / HeadsPerTile(heads, columns);
}

// Tiles of queries: aligned groups of rows_per_tile rows of a step, cut where the sequence changes.
// A tile begins at `row`:
BATON_HOST_DEVICE constexpr bool BeginsTile(const int32_t* sequence_rows, int row,
                                            int rows_per_tile) {
  return row % rows_per_tile == 0 || sequence_rows[row] != sequence_rows[row - 1];
}

// Rows of the tile that begins at `row`.
BATON_HOST_DEVICE constexpr int TileRows(const int32_t* sequence_rows, int num_rows, int row,
                                         int rows_per_tile) {
  int end = row + 1;
  while (end < num_rows && end % rows_per_tile != 0 && sequence_rows[end] == sequence_rows[row]) {
    ++end;
  }
  return end - row;
}

// Where a warp's transposing store of weights puts 16 bytes: lane `lane` of warp `warp` (of the
// warpgroup) gives the address for columns 8 j to 8 j + 15 of the scores' registers: row `column`,
// chunk `chunk` of the weights' tile.
struct WeightChunk {
  int column;
  int chunk;
};
BATON_HOST_DEVICE constexpr WeightChunk StoredWeights(int warp, int lane, int j) {
  return {(j + lane / 16) * 8 + lane % 8, 2 * warp + lane / 8 % 2};
}

// Registers of a thread repeat their columns with every second pair: slot of register i, and the
// column of slot s of lane `lane`.
BATON_HOST_DEVICE constexpr int ColumnSlot(int i) { return i / 4 * 2 + i % 2; }
BATON_HOST_DEVICE constexpr int SlotColumn(int lane, int slot) {
  return slot / 2 * 8 + lane % 4 * 2 + slot % 2;
}

// Splits of the keys that a query at `position` sees.
BATON_HOST_DEVICE constexpr int KeySplits(int position) { return position / kMlaSplitTokens + 1; }

// Blocks of split `split` that a tile whose last query stands at `position` reads.
BATON_HOST_DEVICE constexpr int SplitBlocks(int position, int split) {
  const int blocks = position / kMlaBlockTokens + 1 - split * kBlocksPerSplit;
  return blocks < kBlocksPerSplit ? blocks : kBlocksPerSplit;
}

// Floats of one partial result: sums as [register][thread], then maxima and sums of weights per
// column.
BATON_HOST_DEVICE constexpr int64_t PartialFloats(int columns) {
  return int64_t{kLatentTiles} * (columns / 2) * 128 + 2 * columns;
}

// Floats that a thread block keeps of a tile between splits (kSequential): [register][thread],
// then each thread's maxima and sums of weights likewise.
BATON_HOST_DEVICE constexpr int64_t SequenceFloats(int columns) {
  return (int64_t{kLatentTiles} * (columns / 2) + 2 * (columns / 4)) * 128;
}

}  // namespace baton::kernels::cuda
