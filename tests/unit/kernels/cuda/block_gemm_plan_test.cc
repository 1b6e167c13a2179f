#include "kernels/cuda/plan/block_gemm_plan.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/plan/launch_shape.h"

namespace baton::kernels::cuda {
namespace {

struct GemmCase {
  const char* name;
  int n;
  int k;
  int splits;
};

// DeepSeek-R1, one of 8 ranks.
constexpr GemmCase kR1Weights[] = {
    {"qkv_a", 2112, 7168, 8},      {"q_b", 3072, 1536, 4},
    {"o_proj", 7168, 2048, 4},     {"dense gate_up", 4608, 7168, 4},
    {"dense down", 7168, 2304, 4}, {"shared gate_up", 512, 7168, 8},
    {"shared down", 7168, 256, 1},
};

template <class Visit>
void ForEachTile(Visit visit) {
  visit(DenseTile<8>());
  visit(DenseTile<16>());
  visit(DenseTile<32>());
  visit(DenseTile<64>());
  visit(Bf16Tile<8>());
  visit(Bf16Tile<16>());
  visit(Bf16Tile<32>());
  visit(Bf16Tile<64>());
  visit(ExpertTile<8>());
  visit(ExpertTile<16>());
  visit(ExpertTile<32>());
  visit(ExpertTile<64>());
}

TEST(BlockGemmPlan, SplitsOfEveryWeightAreFixed) {
  for (const GemmCase& c : kR1Weights) {
    EXPECT_EQ(NumSplits(CeilDiv(c.n, DenseTile<8>::kRows), c.k / kScaleBlock), c.splits) << c.name;
    EXPECT_LE(CeilDiv(c.k / kScaleBlock, c.splits), kMaxSplitBlocks) << c.name;
  }
}

TEST(BlockGemmPlan, Bf16SplitsOfEveryWeightAreFixed) {
  const auto splits = [](int n, int k) {
    return NumSplits(CeilDiv(n, Bf16Tile<8>::kRows), CeilDiv(k, Bf16Tile<8>::kBlockElements));
  };
  EXPECT_EQ(splits(256, 7168), 8);    // router
  EXPECT_EQ(splits(16160, 7168), 2);  // logits of one of 8 ranks
  EXPECT_EQ(splits(512, 128), 1);     // queries of a head into the latent space
  EXPECT_EQ(splits(128, 512), 4);     // and values out of it
}

TEST(BlockGemmPlan, EverySplitHasWork) {
  for (int row_tiles = 1; row_tiles <= 300; ++row_tiles) {
    for (int k_blocks = 1; k_blocks <= 144; ++k_blocks) {
      const int splits = NumSplits(row_tiles, k_blocks);
      ASSERT_LE(splits, kMaxSplits);
      for (int rank = 0; rank < splits; ++rank) {
        ASSERT_GE(PartBegin(k_blocks, splits, rank + 1) - PartBegin(k_blocks, splits, rank),
                  splits == 1 ? 1 : 2);
      }
    }
  }
}

// The launch of a step of m tokens, in tiles of its width.
template <template <int> class TileOf>
LaunchShape DenseLaunchOf(int m, int n, int k, int heads) {
  switch (TokenTile(m)) {
    case 8:
      return DenseLaunch<TileOf<8>>(m, n, k, heads);
    case 16:
      return DenseLaunch<TileOf<16>>(m, n, k, heads);
    case 32:
      return DenseLaunch<TileOf<32>>(m, n, k, heads);
    default:
      return DenseLaunch<TileOf<64>>(m, n, k, heads);
  }
}

TEST(BlockGemmPlan, LaunchesFitTheDevice) {
  std::vector<int> steps = {1000, 1024, 2047, 2048, 8191, 8192, 1000000};
  for (int tokens = 1; tokens <= 256; ++tokens) steps.push_back(tokens);
  for (const int tokens : steps) {
    for (const GemmCase& c : kR1Weights) {
      const LaunchShape shape = DenseLaunchOf<DenseTile>(tokens, c.n, c.k, 1);
      EXPECT_TRUE(CheckLaunch(c.name, shape, kHopper).ok()) << c.name;
      EXPECT_EQ(shape.cluster, c.splits) << c.name;
      // Blocks that cover the weight's rows and the tokens, none of them without either.
      EXPECT_EQ(shape.grid_x, CeilDiv(c.n, DenseTile<8>::kRows) * c.splits) << c.name;
      EXPECT_GE(shape.grid_y * TokenTile(tokens), tokens) << c.name;
      EXPECT_LT((shape.grid_y - 1) * TokenTile(tokens), tokens) << c.name;
    }
    for (const int heads : {16, 128}) {
      EXPECT_TRUE(
          CheckLaunch("W_UK", DenseLaunchOf<Bf16Tile>(tokens, 512, 128, heads), kHopper).ok());
      EXPECT_TRUE(
          CheckLaunch("W_UV", DenseLaunchOf<Bf16Tile>(tokens, 128, 512, heads), kHopper).ok());
    }
    EXPECT_TRUE(CheckLaunch("head", DenseLaunchOf<Bf16Tile>(tokens, 16160, 7168, 1), kHopper).ok());
    EXPECT_TRUE(
        CheckLaunch("head, TP 1", DenseLaunchOf<Bf16Tile>(tokens, 129280, 7168, 1), kHopper).ok());
  }
  EXPECT_TRUE((DenseLaunchOf<DenseTile>(0, 2112, 7168, 1)).empty());
  EXPECT_TRUE((DenseLaunchOf<DenseTile>(5, 0, 7168, 1)).empty());
}

TEST(BlockGemmPlan, TwoBlocksShareAMultiprocessor) {
  // 228 KiB each, 1 KiB of it per block for the system.
  const auto fits = [](int bytes, int blocks) { return blocks * (bytes + 1024) <= 228 * 1024; };
  EXPECT_TRUE(fits(DenseTile<8>::kSharedBytes, 2));
  EXPECT_TRUE(fits(DenseTile<16>::kSharedBytes, 2));
  EXPECT_TRUE(fits(DenseTile<32>::kSharedBytes, 2));
  EXPECT_TRUE(fits(DenseTile<64>::kSharedBytes, 2));
  EXPECT_TRUE(fits(ExpertTile<8>::kSharedBytes, 2));
  EXPECT_TRUE(fits(ExpertTile<16>::kSharedBytes, 2));
  EXPECT_TRUE(fits(ExpertTile<32>::kSharedBytes, 2));
  EXPECT_TRUE(fits(ExpertTile<64>::kSharedBytes, 1));
}

TEST(BlockGemmPlan, TilesOfSharedMemoryAreAligned) {
  ForEachTile([](auto tile) {
    using Tile = decltype(tile);
    EXPECT_EQ(Tile::kWeightBytes % kAtomBytes, 0);
    EXPECT_EQ(Tile::kTokenBytes % kAtomBytes, 0);
    EXPECT_EQ(Tile::kTokensOffset % kAtomBytes, 0);
    EXPECT_EQ(Tile::kTokenScalesOffset % 16, 0);
    EXPECT_EQ(Tile::kPartialPitch % 4, 0);
    EXPECT_EQ(Tile::kBoxes * Tile::kBoxRows, Tile::kRows);
    EXPECT_LE(Tile::kBoxRows, 256);
    EXPECT_EQ(Tile::kBlockElements * Tile::kElementBytes, kAtomRowBytes);
  });
}

TEST(BlockGemmPlan, LoadersCopyEveryChunkOnce) {
  ForEachTile([](auto tile) {
    using Tile = decltype(tile);
    std::set<uint32_t> offsets;
    int copies = 0;
    for (int thread = 0; thread < kLoaderThreads; ++thread) {
      for (int i = 0; i < kChunksPerLoader<Tile>; ++i) {
        const int chunk = thread + i * kLoaderThreads;
        if (chunk >= Tile::kTokens * 8) continue;
        offsets.insert(SwizzledOffset(chunk / 8, chunk % 8 * 16));
        ++copies;
      }
    }
    EXPECT_EQ(copies, Tile::kTokens * 8);
    EXPECT_EQ(static_cast<int>(offsets.size()), copies);
    EXPECT_EQ(static_cast<int>(*offsets.rbegin()), Tile::kTokenBytes - 16);
  });
}

TEST(BlockGemmPlan, PartialSumsHaveAPlaceEachAndNoBankConflicts) {
  ForEachTile([](auto tile) {
    using Tile = decltype(tile);
    std::set<int> places;
    for (int sub = 0; sub < Tile::kSubTiles; ++sub) {
      for (int i = 0; i < Tile::kTokens / 2; ++i) {
        for (int warp = 0; warp < kConsumerThreads / 32; ++warp) {
          std::set<int> banks;
          for (int lane = 0; lane < 32; ++lane) {
            const int thread = warp * 32 + lane;
            const int index = PartialIndex<Tile>(thread, sub, i);
            EXPECT_EQ(index, PartialIndex<Tile>(thread, 0, 0) + PartialIndex<Tile>(0, sub, i));
            EXPECT_LT(index % Tile::kPartialPitch, Tile::kRows);
            banks.insert(index % 32);
            places.insert(index);
          }
          EXPECT_EQ(banks.size(), 32u);
        }
      }
    }
    EXPECT_EQ(static_cast<int>(places.size()), Tile::kTokens * Tile::kRows);
  });
}

// The ring as loaders and consumers walk it (block_gemm_core.cuh): neither ever waits for the other
// to do what it does only later, and phases alternate.
TEST(BlockGemmPlan, TheRingTurnsWithoutStandstill) {
  for (int stages = 2; stages <= 6; ++stages) {
    const int lag = stages - 1 < 3 ? stages - 1 : 3;
    for (int visits = 0; visits <= 40; ++visits) {
      int arrived = 0;   // visits that are full
      int consumed = 0;  // visits released
      for (int visit = 0; visit < visits + lag; ++visit) {
        if (visit < visits && visit >= stages) {
          while (consumed <= visit - stages && consumed < arrived) ++consumed;
          ASSERT_GT(consumed, visit - stages) << stages << " stages, visit " << visit;
        }
        if (visit >= lag) ++arrived;
      }
      EXPECT_EQ(arrived, visits);
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
