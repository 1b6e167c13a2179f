// Launches of the plain kernels (products, experts, attention of any shape), and which elements
// each thread takes.
#pragma once

#include <cstdint>

#include "kernels/api/attention.h"
#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

// A tile of x W^T: one block. Thread t has the results of column t % kTileColumns and of rows
// t / kTileColumns + kTileRowStep i, i < kRowsPerThread.
inline constexpr int kTileColumns = 64;  // rows of the weight
inline constexpr int kTileRows = 16;     // rows of x
inline constexpr int kTileDepth = 32;    // along k, in shared memory at a time
inline constexpr int kProductThreads = 256;
inline constexpr int kRowsPerThread = kTileRows * kTileColumns / kProductThreads;
inline constexpr int kTileRowStep = kProductThreads / kTileColumns;

BATON_HOST_DEVICE constexpr int TileColumn(int thread) { return thread % kTileColumns; }
BATON_HOST_DEVICE constexpr int TileRow(int thread, int i) {
  return thread / kTileColumns + kTileRowStep * i;
}
// What a thread copies of `rows` rows of kTileDepth elements.
BATON_HOST_DEVICE constexpr Steps<int> TileCopies(int thread, int rows) {
  return {thread, kProductThreads, rows * kTileDepth};
}

// Pieces of k that share a scale: where the one that begins at `begin` ends. `column_offset`: the
// place of k = 0 in the first scale block.
BATON_HOST_DEVICE constexpr int64_t ScaleBlockEnd(int64_t begin, int64_t k, int64_t block,
                                                  int64_t column_offset) {
  const int64_t end = ((column_offset + begin) / block + 1) * block - column_offset;
  return end < k ? end : k;
}
BATON_HOST_DEVICE constexpr Steps<int64_t> DepthPieces(int64_t begin, int64_t end) {
  return {begin, kTileDepth, end};
}

// Dense products: block (tile of columns, tile of rows, head).
constexpr LaunchShape PlainLinearLaunch(int64_t rows, int64_t n, int64_t heads) {
  return {.grid_x = NumBlocks(n, kTileColumns),
          .grid_y = NumBlocks(rows, kTileRows),
          .grid_z = heads,
          .block = kProductThreads};
}
// Gated networks: block (tile of columns, group): tiles of one network's rows, or all rows of an
// expert, tile by tile.
constexpr LaunchShape PlainNetworkLaunch(int64_t n, int64_t groups) {
  return {.grid_x = NumBlocks(n, kTileColumns), .grid_y = groups, .block = kProductThreads};
}
BATON_HOST_DEVICE constexpr int64_t FirstTileColumn(const LaunchThread& thread) {
  return thread.block_x * kTileColumns;
}
BATON_HOST_DEVICE constexpr int64_t FirstTileRow(const LaunchThread& thread) {
  return thread.block_y * kTileRows;
}
BATON_HOST_DEVICE constexpr Steps<int64_t> RowTiles(int64_t begin, int64_t end) {
  return {begin, kTileRows, end};
}

// Experts take so many tokens at a time: what their slots' float32 results take stays below 64 MB
// at the model's width.
inline constexpr int64_t kPlainExpertTokens = 256;
constexpr Steps<int64_t> PlainExpertPasses(int64_t tokens) {
  return {0, kPlainExpertTokens, tokens};
}

// Attention: block (row, head). Shared memory in float32: query [latent + rope] | scores [split] |
// result [latent].
inline constexpr int kAttendThreads = 256;
inline constexpr int kAttendWarps = kAttendThreads / kWarpThreads;

constexpr LaunchShape PlainAttentionLaunch(int64_t rows, int64_t heads, int64_t latent_dims,
                                           int64_t rope_dims) {
  return {.grid_x = latent_dims == 0 ? 0 : rows,
          .grid_y = heads,
          .block = kAttendThreads,
          .shared_bytes = (2 * latent_dims + rope_dims + kAttentionSplitTokens) * 4};
}
// Where splits of the positions below `end` begin.
BATON_HOST_DEVICE constexpr Steps<int64_t> KeySplitBegins(int64_t end) {
  return {0, kAttentionSplitTokens, end};
}
// Of `count` keys of a split those that a thread's warp multiplies, and that the thread weighs.
BATON_HOST_DEVICE constexpr Steps<int64_t> KeysOfWarp(const LaunchThread& thread, int64_t count) {
  return {thread.warp(), kAttendWarps, count};
}
BATON_HOST_DEVICE constexpr Steps<int64_t> DimsOfLane(const LaunchThread& thread, int64_t dims) {
  return {thread.lane(), kWarpThreads, dims};
}
BATON_HOST_DEVICE constexpr Steps<int64_t> AttendSteps(const LaunchThread& thread, int64_t count) {
  return {thread.index, kAttendThreads, count};
}

}  // namespace baton::kernels::cuda
