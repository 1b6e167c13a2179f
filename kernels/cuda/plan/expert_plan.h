// How the rows of a step are laid out for the grouped products of experts: plain arithmetic, and
// the layout itself as the device's kernel must make it.
//
// A pair is (token, slot), numbered token * slots + slot; the slot behind the routed ones is the
// shared expert's, which takes every token and is expert number num_experts. Rows are the pairs in
// order of expert, then of pair; empty slots (expert -1) have none. Tiles cut each expert's rows
// into runs of at most the tile's width.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/plan/block_gemm_plan.h"

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

// Scale blocks of k are cut as for a dense weight of one expert's rows.
BATON_HOST_DEVICE constexpr int ExpertSplits(int row_tiles, int k_blocks) {
  return NumSplits(row_tiles, k_blocks);
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
