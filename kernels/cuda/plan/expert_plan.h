// How the rows of a step are laid out for the grouped products of experts: plain arithmetic, and
// the layout itself as the device's kernel must make it.
//
// A pair is (token, slot), numbered token * slots + slot; the slot behind the routed ones is the
// shared expert's, which takes every token and is expert number num_experts. Rows are the pairs in
// order of expert, then of pair; empty slots (expert -1) have none. Tiles cut each expert's rows
// into runs of at most the tile's width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/plan/block_gemm_plan.h"
#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

inline constexpr int kMaxExperts = 512;  // shared one included
inline constexpr int kScheduleThreads = 1024;
inline constexpr int kScheduleWarps = kScheduleThreads / 32;

// Rows first_row .. first_row + num_rows - 1 of expert `expert`.
struct alignas(16) ExpertTileRows {
  int32_t expert;
  int32_t first_row;
  int32_t num_rows;
  int32_t unused;
};

// Width of tiles for a step: twice the rows that an expert gets on average, and some. From the
// step's size alone; results do not depend on it.
BATON_HOST_DEVICE constexpr int ExpertTokenTile(int64_t tokens, int top_k, int num_experts) {
  const int64_t rows = 2 * tokens * top_k / num_experts;
  return rows <= 4 ? 8 : rows <= 12 ? 16 : rows <= 32 ? 32 : 64;
}

// Tiles that a step can have at most: experts with rows, each with one that is not full, and full
// ones.
BATON_HOST_DEVICE constexpr int64_t MaxExpertTiles(int64_t rows, int experts, int width) {
  return (rows < experts ? rows : experts) + rows / width;
}

// Most tokens of one pass of the grouped products: what their pairs' float32 results take stays
// around half a GiB at R1's width, and an expert's weights are read once for 64 rows of it.
inline constexpr int64_t kExpertStepTokens = 2048;

// Widths of a layer that the grouped products take: whole scale blocks, few enough for a split.
constexpr bool IsExpertWidth(int64_t width) {
  return width > 0 && width % kScaleBlock == 0 && width <= int64_t{kMaxSplitBlocks} * kScaleBlock;
}

// A layer's experts and a step's tokens. Without routed experts the shared one is a dense layer.
struct ExpertShape {
  int64_t tokens = 0;
  int64_t top_k = 0;
  int64_t num_experts = 0;  // routed
  bool shared = false;
  int64_t hidden = 0;
  int64_t intermediate = 0;

  constexpr int64_t slots() const { return top_k + (shared ? 1 : 0); }
  constexpr int width() const {
    return num_experts == 0
               ? TokenTile(static_cast<int>(tokens))
               : ExpertTokenTile(tokens, static_cast<int>(top_k), static_cast<int>(num_experts));
  }
};

// Elements of a step's working memory (ExpertGemmArgs). A dense layer's pairs are its output rows.
struct ExpertScratch {
  int64_t codes = 0;         // bytes: x in FP8
  int64_t scales = 0;        // floats
  int64_t pairs = 0;         // int32
  int64_t tiles = 0;         // ExpertTileRows
  int64_t inner = 0;         // bytes: FP8
  int64_t inner_scales = 0;  // floats
  int64_t pair_out = 0;      // floats; 0: none
};
constexpr ExpertScratch ExpertScratchOf(const ExpertShape& shape) {
  const int64_t pairs = shape.tokens * shape.slots();
  const int experts = static_cast<int>(shape.num_experts) + (shape.shared ? 1 : 0);
  // Of every smaller step too: its tiles may be narrower.
  const int64_t narrow_tiles = MaxExpertTiles(pairs, experts, 8);
  return {.codes = shape.tokens * shape.hidden,
          .scales = shape.tokens * (shape.hidden / kScaleBlock),
          .pairs = pairs,
          .tiles = narrow_tiles,
          .inner = pairs * shape.intermediate,
          .inner_scales = pairs * (shape.intermediate / kScaleBlock),
          .pair_out = shape.num_experts == 0 ? 0 : pairs * shape.hidden};
}

// All of it, each part rounded by `aligned`.
template <class Aligned>
constexpr size_t ExpertScratchBytes(const ExpertShape& shape, Aligned aligned) {
  const ExpertScratch sizes = ExpertScratchOf(shape);
  return aligned(sizes.codes) + aligned(sizes.scales * 4) + aligned(sizes.pairs * 4) +
         aligned(sizes.tiles * static_cast<int64_t>(sizeof(ExpertTileRows))) + aligned(4) +
         aligned(sizes.inner) + aligned(sizes.inner_scales * 4) + aligned(sizes.pair_out * 4);
}

// Scale blocks of k are cut as for a dense weight of one expert's rows.
BATON_HOST_DEVICE constexpr int ExpertSplits(int row_tiles, int k_blocks) {
  return NumSplits(row_tiles, k_blocks);
}

// The schedule's kernel: one block. Each warp walks over a run of the step's routed choices, 32 at
// a time, and counts them per expert in its own row of shared memory; thread e then has expert e.
BATON_HOST_DEVICE constexpr Steps<int> WarpChoices(int warp, int choices) {
  return {PartBegin(choices, kScheduleWarps, warp), kWarpThreads,
          PartBegin(choices, kScheduleWarps, warp + 1)};
}
BATON_HOST_DEVICE constexpr Steps<int> ScheduleSteps(int thread, int count) {
  return {thread, kScheduleThreads, count};
}
// `experts`: the shared one included.
constexpr LaunchShape ScheduleLaunch(int experts) {
  return {.block = kScheduleThreads,
          .shared_bytes = int64_t{kScheduleWarps} * experts * int64_t{sizeof(int32_t)}};
}
// The pair of a routed choice (token * top_k + slot), and of a token's shared expert.
BATON_HOST_DEVICE constexpr int PairOfChoice(int choice, int top_k, bool shared) {
  return choice / top_k * (top_k + (shared ? 1 : 0)) + choice % top_k;
}
BATON_HOST_DEVICE constexpr int PairOfShared(int token, int top_k) {
  return token * (top_k + 1) + top_k;
}

// Combination: a thread per token and kCombineColumns columns. Threads may lie behind the row's
// end.
inline constexpr int kCombineThreads = 128;
inline constexpr int kCombineColumns = 4;

constexpr LaunchShape ExpertCombineLaunch(int64_t tokens, int64_t hidden) {
  return {.grid_x = tokens,
          .grid_y = NumBlocks(hidden, kCombineThreads * kCombineColumns),
          .block = kCombineThreads};
}
BATON_HOST_DEVICE constexpr RowColumn CombinedAt(const LaunchThread& thread) {
  return {thread.block_x, (thread.block_y * kCombineThreads + thread.index) * kCombineColumns};
}

// Sizes and strides of a launch of the grouped products (ExpertGemmArgs).
struct ExpertProductShape {
  int64_t tokens = 0;
  int64_t slots = 0;        // of a token, with the shared expert's
  int64_t num_experts = 0;  // with the shared one
  int64_t width = 0;        // of tiles
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t x_stride = 0;
  int64_t x_scale_stride = 0;
  int64_t inner_scale_stride = 0;
  int64_t pair_stride = 0;
};
// Whether the kernels find all that they read and write where it belongs.
constexpr bool CanLaunchExperts(const ExpertProductShape& shape) {
  const bool has_tiles =
      shape.width == 8 || shape.width == 16 || shape.width == 32 || shape.width == 64;
  return has_tiles && shape.tokens >= 0 && shape.slots > 0 && shape.num_experts > 0 &&
         shape.num_experts <= kMaxExperts && shape.hidden > 0 && shape.hidden % kScaleBlock == 0 &&
         shape.intermediate > 0 && shape.intermediate % kScaleBlock == 0 &&
         shape.x_stride % 16 == 0 && shape.x_stride >= shape.hidden &&
         shape.x_scale_stride >= shape.tokens &&
         shape.inner_scale_stride >= shape.tokens * shape.slots && shape.pair_stride % 4 == 0 &&
         shape.pair_stride >= shape.hidden;
}

// What the schedule's kernel leaves in device memory.
struct ExpertSchedule {
  std::vector<int32_t> pair_of_row;
  std::vector<ExpertTileRows> tiles;
};

// The schedule of a step, straight from its definition: the oracle of the device's kernel.
// `experts` [tokens * top_k].
ExpertSchedule MakeExpertSchedule(const std::vector<int32_t>& experts, int top_k, int num_experts,
                                  bool shared, int width);

}  // namespace baton::kernels::cuda
