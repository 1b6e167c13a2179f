#include "kernels/cuda/plan/expert_plan.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/plan/launch_shape.h"
#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kR1Experts = 256;
constexpr int kR1TopK = 8;

std::vector<int32_t> Draw(int tokens, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<int32_t> all(kR1Experts);
  for (int e = 0; e < kR1Experts; ++e) all[e] = e;
  std::vector<int32_t> experts;
  for (int t = 0; t < tokens; ++t) {
    std::shuffle(all.begin(), all.end(), generator);
    experts.insert(experts.end(), all.begin(), all.begin() + kR1TopK);
  }
  return experts;
}

TEST(ExpertPlan, EveryPairHasARowInTheTileOfItsExpert) {
  for (const int tokens : {1, 7, 64, 200}) {
    std::vector<int32_t> experts = Draw(tokens, 11);
    experts[3] = -1;  // an empty slot
    const int width = ExpertTokenTile(tokens, kR1TopK, kR1Experts);
    const ExpertSchedule schedule =
        MakeExpertSchedule(experts, kR1TopK, kR1Experts, /*shared=*/true, width);
    ASSERT_EQ(schedule.pair_of_row.size(), experts.size() - 1 + tokens);
    const std::set<int32_t> pairs(schedule.pair_of_row.begin(), schedule.pair_of_row.end());
    EXPECT_EQ(pairs.size(), schedule.pair_of_row.size());
    int next_row = 0;
    for (const ExpertTileRows& tile : schedule.tiles) {
      EXPECT_EQ(tile.first_row, next_row);
      EXPECT_GE(tile.num_rows, 1);
      EXPECT_LE(tile.num_rows, width);
      for (int row = tile.first_row; row < tile.first_row + tile.num_rows; ++row) {
        const int pair = schedule.pair_of_row[row];
        const int slot = pair % (kR1TopK + 1);
        EXPECT_EQ(tile.expert,
                  slot == kR1TopK ? kR1Experts : experts[pair / (kR1TopK + 1) * kR1TopK + slot]);
      }
      next_row += tile.num_rows;
    }
    EXPECT_EQ(next_row, static_cast<int>(schedule.pair_of_row.size()));
  }
}

TEST(ExpertPlan, RowsOfAnExpertStandInOrderOfPairs) {
  const ExpertSchedule schedule = MakeExpertSchedule({2, 0, 0, 2, 1, 2}, 2, 3, true, 8);
  EXPECT_EQ(schedule.pair_of_row, (std::vector<int32_t>{1, 3, 6, 0, 4, 7, 2, 5, 8}));
}

TEST(ExpertPlan, TilesStayBelowTheirBound) {
  for (const int tokens : {1, 2, 8, 64, 128, 512, 2048}) {
    const int width = ExpertTokenTile(tokens, kR1TopK, kR1Experts);
    const int64_t bound = MaxExpertTiles(int64_t{tokens} * (kR1TopK + 1), kR1Experts + 1, width);
    EXPECT_LE(bound, kHopper.max_grid_yz);
    for (unsigned seed = 0; seed < 3; ++seed) {
      const ExpertSchedule schedule =
          MakeExpertSchedule(Draw(tokens, seed), kR1TopK, kR1Experts, true, width);
      EXPECT_LE(static_cast<int64_t>(schedule.tiles.size()), bound);
    }
  }
  // One expert with everything, and rows that just begin a tile.
  const ExpertSchedule schedule =
      MakeExpertSchedule(std::vector<int32_t>(17, 5), 1, kR1Experts, false, 8);
  EXPECT_EQ(schedule.tiles.size(), 3u);
  EXPECT_EQ(MaxExpertTiles(17, kR1Experts, 8), 19);
}

TEST(ExpertPlan, SplitsDoNotDependOnTheStep) {
  EXPECT_EQ(ExpertSplits(256 / kScaleBlock, 7168 / kScaleBlock), 8);  // gate and up of R1, TP 8
  EXPECT_EQ(ExpertSplits(CeilDiv(7168, 256), 256 / kScaleBlock), 1);  // down
}

TEST(ExpertPlan, WidthsFollowTheAverage) {
  EXPECT_EQ(ExpertTokenTile(1, kR1TopK, kR1Experts), 8);
  EXPECT_EQ(ExpertTokenTile(64, kR1TopK, kR1Experts), 8);
  EXPECT_EQ(ExpertTokenTile(128, kR1TopK, kR1Experts), 16);
  EXPECT_EQ(ExpertTokenTile(512, kR1TopK, kR1Experts), 32);
  EXPECT_EQ(ExpertTokenTile(2048, kR1TopK, kR1Experts), 64);
}

TEST(ExpertPlan, WorkingMemoryOfAStepHoldsEverySmallerOne) {
  ExpertShape most = {.top_k = kR1TopK,
                      .num_experts = kR1Experts,
                      .shared = true,
                      .hidden = 7168,
                      .intermediate = 256};
  for (const int64_t tokens : {1, 64, 300, 2048}) {
    most.tokens = tokens;
    const ExpertScratch memory = ExpertScratchOf(most);
    EXPECT_EQ(memory.codes, tokens * 7168);
    EXPECT_EQ(memory.inner_scales, tokens * 9 * 2);
    EXPECT_EQ(memory.pair_out, tokens * 9 * 7168);
    for (ExpertShape fewer = most; fewer.tokens > 0; fewer.tokens -= 1 + fewer.tokens / 7) {
      EXPECT_LE(MaxExpertTiles(fewer.tokens * fewer.slots(), kR1Experts + 1, fewer.width()),
                memory.tiles)
          << fewer.tokens << " of " << tokens;
    }
  }
  // The largest step stays near half a GiB.
  const auto plain = [](int64_t bytes) { return static_cast<size_t>(bytes); };
  EXPECT_LT(ExpertScratchBytes(most, plain), size_t{600} << 20);
}

TEST(ExpertPlan, ALayerWithoutRoutedExpertsGivesItsTokensToTheSharedOne) {
  const ExpertShape dense = {.tokens = 70, .shared = true, .hidden = 7168, .intermediate = 2304};
  EXPECT_EQ(dense.slots(), 1);
  EXPECT_EQ(dense.width(), 64);
  EXPECT_EQ(ExpertScratchOf(dense).pair_out, 0);
  EXPECT_GE(MaxExpertTiles(70, 1, dense.width()), 2);
}

TEST(ExpertPlan, WarpsOfTheScheduleWalkOverEveryChoiceOnceInOrder) {
  for (const int choices : {0, 1, 8, 31, 32, 33, 1023, 1024, 16384, 65536}) {
    Visits taken(choices);
    int next = 0;
    for (int warp = 0; warp < kScheduleWarps; ++warp) {
      const Steps<int> rounds = WarpChoices(warp, choices);
      for (const int first : rounds) {
        for (int choice = first; choice < std::min(first + kWarpThreads, rounds.limit); ++choice) {
          EXPECT_EQ(choice, next++);
          taken.Add(choice);
        }
      }
    }
    taken.ExpectOnceEach("choices");
    Visits spread(choices);
    for (int thread = 0; thread < kScheduleThreads; ++thread) {
      for (const int i : ScheduleSteps(thread, choices)) spread.Add(i);
    }
    spread.ExpectOnceEach("entries");
  }
}

TEST(ExpertPlan, PairsAreNumberedByTokenAndSlot) {
  for (const bool shared : {false, true}) {
    const int slots = kR1TopK + (shared ? 1 : 0);
    Visits pairs(int64_t{50} * slots);
    for (int choice = 0; choice < 50 * kR1TopK; ++choice) {
      const int pair = PairOfChoice(choice, kR1TopK, shared);
      EXPECT_EQ(pair / slots, choice / kR1TopK);
      EXPECT_EQ(pair % slots, choice % kR1TopK);
      pairs.Add(pair);
    }
    for (int token = 0; shared && token < 50; ++token) {
      pairs.Add(PairOfShared(token, kR1TopK));
    }
    pairs.ExpectOnceEach("pairs");
  }
}

TEST(ExpertPlan, CombinationTakesEveryColumnOnce) {
  for (const int64_t hidden : {4, 256, 508, 512, 516, 7168}) {
    Visits columns(3 * hidden);
    ForEachThread(ExpertCombineLaunch(3, hidden), [&](const LaunchThread& thread) {
      const RowColumn at = CombinedAt(thread);
      if (at.column >= hidden) return;
      for (int i = 0; i < kCombineColumns; ++i) columns.Add(at.row * hidden + at.column + i);
    });
    columns.ExpectOnceEach("columns");
  }
}

TEST(ExpertPlan, LaunchesFitTheDevice) {
  ExpectFits("schedule", ScheduleLaunch(kR1Experts + 1));
  // The most experts need a device's consent to their shared memory (LaunchAny asks for it).
  EXPECT_TRUE(CheckLaunch("schedule", ScheduleLaunch(kMaxExperts), kHopper).ok());
  EXPECT_TRUE(CheckLaunch("schedule", ScheduleLaunch(kMaxExperts), kAmpere).ok());
  EXPECT_LE(kMaxExperts, kScheduleThreads) << "a thread per expert";
  for (const ModelShape& model : kModelShapes) {
    for (const int64_t tokens : kStepTokens) {
      ExpectFits(model.name, ExpertCombineLaunch(tokens, model.hidden));
    }
  }
  EXPECT_TRUE(ExpertCombineLaunch(0, 7168).empty());
  EXPECT_FALSE(CheckLaunch("combine", ExpertCombineLaunch(int64_t{1} << 31, 7168), kHopper).ok());
  for (const int tokens : {1, 64, 128, 2048, 8192}) {
    const int width = ExpertTokenTile(tokens, kR1TopK, kR1Experts);
    const LaunchShape gate_up = {
        .grid_x = 2 * 8,
        .grid_y = MaxExpertTiles(int64_t{tokens} * (kR1TopK + 1), kR1Experts + 1, width),
        .block = kGemmThreads,
        .shared_bytes = ExpertTile<64>::kSharedBytes,
        .cluster = 8};
    EXPECT_TRUE(CheckLaunch("gate_up", gate_up, kHopper).ok());
  }
}

constexpr ExpertProductShape kR1Products = {.tokens = 64,
                                            .slots = 9,
                                            .num_experts = 257,
                                            .width = 16,
                                            .hidden = 7168,
                                            .intermediate = 2048,
                                            .x_stride = 7168,
                                            .x_scale_stride = 64,
                                            .inner_scale_stride = 64 * 9,
                                            .pair_stride = 7168};

TEST(ExpertPlan, ProductsTakeStridesThatHoldEveryRow) {
  EXPECT_TRUE(CanLaunchExperts(kR1Products));
  for (int64_t ExpertProductShape::*stride :
       {&ExpertProductShape::x_stride, &ExpertProductShape::x_scale_stride,
        &ExpertProductShape::inner_scale_stride, &ExpertProductShape::pair_stride}) {
    ExpertProductShape shape = kR1Products;
    shape.*stride += 16;
    EXPECT_TRUE(CanLaunchExperts(shape));
    shape.*stride -= 32;
    EXPECT_FALSE(CanLaunchExperts(shape));
  }
  ExpertProductShape apart = kR1Products;
  apart.x_stride += 8;  // copies move 16 bytes
  EXPECT_FALSE(CanLaunchExperts(apart));
  apart = kR1Products;
  apart.pair_stride += 2;  // and stores four floats
  EXPECT_FALSE(CanLaunchExperts(apart));
}

TEST(ExpertPlan, ProductsTakeWholeScaleBlocksOfExpertsThatTheScheduleKnows) {
  const auto with = [](int64_t ExpertProductShape::*size, int64_t value) {
    ExpertProductShape shape = kR1Products;
    shape.*size = value;
    return CanLaunchExperts(shape);
  };
  EXPECT_FALSE(with(&ExpertProductShape::num_experts, 0));
  EXPECT_TRUE(with(&ExpertProductShape::num_experts, kMaxExperts));
  EXPECT_FALSE(with(&ExpertProductShape::num_experts, kMaxExperts + 1));
  EXPECT_FALSE(with(&ExpertProductShape::slots, 0));
  EXPECT_FALSE(with(&ExpertProductShape::hidden, 7104));
  EXPECT_FALSE(with(&ExpertProductShape::intermediate, 2000));
  for (const int64_t width : {0, 4, 12, 24, 128}) {
    EXPECT_FALSE(with(&ExpertProductShape::width, width));
  }
  EXPECT_TRUE(with(&ExpertProductShape::width, 64));
}

}  // namespace
}  // namespace baton::kernels::cuda
