// Tiles, splits and shared memory of the FP8 block products: plain arithmetic, checked on the host.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/tile_layout.h"

namespace baton::kernels::cuda {

inline constexpr int kScaleBlock = 128;       // elements along k, and along n, per scale
inline constexpr int kConsumerThreads = 256;  // two warpgroups multiply
inline constexpr int kLoaderThreads = 128;    // four warps fill the ring
inline constexpr int kGemmThreads = kConsumerThreads + kLoaderThreads;
inline constexpr int kWeightBoxRows = 128;   // rows of one tensor copy
inline constexpr int kMaxSplits = 8;         // blocks of a cluster, the portable limit
inline constexpr int kMaxSplitBlocks = 160;  // scale blocks along k of one split: k <= 20480
inline constexpr int kWantedBlocks = 132;    // multiprocessors of a H100 or H200

// Into how many blocks of a cluster k is cut: the fewest (1, 2, 4, 8) that give every
// multiprocessor work, each with two scale blocks at least. From the weight's shape alone, never
// from the number of tokens: it fixes the order of summation.
BATON_HOST_DEVICE constexpr int NumSplits(int row_tiles, int k_blocks) {
  int splits = 1;
  while (splits < kMaxSplits && row_tiles * splits < kWantedBlocks && k_blocks >= 4 * splits) {
    splits *= 2;
  }
  return splits;
}

// Tokens of a tile (columns of the product) for `tokens` tokens.
BATON_HOST_DEVICE constexpr int TokenTile(int tokens) {
  return tokens <= 8 ? 8 : tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64;
}

// One block's tile: 128 * kSubTiles rows of the weight (each of the two warpgroups takes 64 *
// kSubTiles of them) times kTokens tokens, through a ring of kStages scale blocks along k.
// Shared memory, from a multiple of 1024 bytes:
//   weights       [stages][rows][128]     FP8, 128-byte swizzle
//   tokens        [stages][kTokens][128]  FP8, 128-byte swizzle
//   token scales  [stages][kTokens]       float32
//   weight scales [2][kMaxSplitBlocks]    float32, a row of blocks per warpgroup
//   full, empty   [stages] each           barriers
// In bfloat16 a stage is 64 elements along k, in the same 128 bytes, and there are no scales.
// After the last product the first bytes hold the partial sums [kTokens][rows + 4] in float32.
template <int kTokensOfTile, int kSubTilesOfTile, int kStagesOfTile, int kElementBytesOfTile = 1>
struct GemmTile {
  static constexpr int kTokens = kTokensOfTile;
  static constexpr int kSubTiles = kSubTilesOfTile;
  static constexpr int kStages = kStagesOfTile;
  static constexpr int kElementBytes = kElementBytesOfTile;
  static constexpr int kBlockElements = kAtomRowBytes / kElementBytes;  // of a stage, along k
  static constexpr int kRows = 128 * kSubTiles;
  static constexpr int kBoxRows = kWeightBoxRows;
  static constexpr int kBoxes = kRows / kBoxRows;

  static constexpr int kWeightBytes = kRows * kAtomRowBytes;  // of one stage
  static constexpr int kTokenBytes = kTokens * kAtomRowBytes;
  static constexpr int kTokensOffset = kStages * kWeightBytes;
  static constexpr int kTokenScalesOffset = kTokensOffset + kStages * kTokenBytes;
  static constexpr int kWeightScalesOffset = kTokenScalesOffset + kStages * kTokens * 4;
  static constexpr int kBarriersOffset = kWeightScalesOffset + 2 * kMaxSplitBlocks * 4;
  static constexpr int kUsedBytes = kBarriersOffset + 2 * kStages * 8;
  // The block's dynamic shared memory: room to round its start up to an atom.
  static constexpr int kSharedBytes = kUsedBytes + kAtomBytes;

  // Floats between the partial sums of neighbouring tokens. 4 more than the rows: a warp's stores
  // (8 rows x 4 pairs of tokens) then meet 32 banks.
  static constexpr int kPartialPitch = kRows + 4;

  static_assert(kTokens % 8 == 0 && kTokens <= 64);
  static_assert(kTokens * kPartialPitch * 4 <= kTokenScalesOffset);
  static_assert(kBarriersOffset % 8 == 0);
};

// Chunks of 16 bytes of a stage's tokens that one loader thread copies: chunk `thread + 128 i`.
template <class Tile>
inline constexpr int kChunksPerLoader = CeilDiv(Tile::kTokens * 8, kLoaderThreads);

// Where thread `thread` of the consumers leaves register `index` of sub-tile `sub`: element of the
// partial sums, counted in floats.
template <class Tile>
BATON_HOST_DEVICE constexpr int PartialIndex(int thread, int sub, int index) {
  const FragmentElement element = ResultElement(thread % 128, index);
  return element.column * Tile::kPartialPitch + (thread / 128 * Tile::kSubTiles + sub) * 64 +
         element.row;
}

// Dense products: two blocks fit on a multiprocessor.
template <int kTokens>
using DenseTile = GemmTile<kTokens, 1, kTokens <= 16 ? 5 : 4>;

// Dense products in bfloat16.
template <int kTokens>
using Bf16Tile = GemmTile<kTokens, 1, kTokens <= 16 ? 5 : 4, 2>;

// Launches of dense products [m, k] x [n, k]^T of `heads` weights: clusters of splits per tile of
// rows along x, tiles of tokens along y, heads along z.
template <class Tile>
constexpr int DenseSplits(int n, int k) {
  return NumSplits(CeilDiv(n, Tile::kRows), CeilDiv(k, Tile::kBlockElements));
}
template <class Tile>
constexpr LaunchShape DenseLaunch(int m, int n, int k, int heads) {
  const int splits = DenseSplits<Tile>(n, k);
  return {.grid_x = int64_t{CeilDiv(n, Tile::kRows)} * splits,
          .grid_y = CeilDiv(m, Tile::kTokens),
          .grid_z = heads,
          .block = kGemmThreads,
          .shared_bytes = Tile::kSharedBytes,
          .cluster = splits};
}

// Products of experts (gate and up side by side; down): 256 rows.
template <int kTokens>
using ExpertTile = GemmTile<kTokens, 2, kTokens <= 32 ? 3 : 5>;

}  // namespace baton::kernels::cuda
