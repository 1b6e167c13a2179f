// Launches of the operations that go along rows, and which elements each thread takes: norms,
// additions, quantisation, rotary embedding, writes to the cache, embedding.
//
// Rows go along the grid's x, which has room for 2^31 of them; y has room for 65535 blocks.
#pragma once

#include <cstdint>

#include "kernels/api/attention.h"
#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

// RMS normalisation: a block per row; thread t takes the columns t, t + kNormThreads, ... in order.
inline constexpr int kNormThreads = 256;
inline constexpr int kNormWarps = kNormThreads / kWarpThreads;

constexpr LaunchShape NormLaunch(int64_t rows, int64_t columns) {
  return {.grid_x = columns == 0 ? 0 : rows, .block = kNormThreads};
}
BATON_HOST_DEVICE constexpr Steps<int64_t> NormColumns(const LaunchThread& thread,
                                                       int64_t columns) {
  return {thread.index, kNormThreads, columns};
}

// A thread per element: blocks of kElementThreads columns of a row. Columns may lie behind the
// row's end.
inline constexpr int kElementThreads = 256;

constexpr LaunchShape ElementsLaunch(int64_t rows, int64_t columns) {
  return {.grid_x = rows, .grid_y = NumBlocks(columns, kElementThreads), .block = kElementThreads};
}
BATON_HOST_DEVICE constexpr RowColumn ElementOf(const LaunchThread& thread) {
  return {thread.block_x, thread.block_y * kElementThreads + thread.index};
}

// Quantisation: a warp per row and group of kGroupColumns columns, of which each lane has
// kLaneColumns. Groups may lie behind the row's end.
inline constexpr int kQuantiseWarps = 8;
inline constexpr int kGroupColumns = 128;
inline constexpr int kLaneColumns = kGroupColumns / kWarpThreads;

constexpr LaunchShape QuantiseLaunch(int64_t rows, int64_t columns) {
  return {.grid_x = rows,
          .grid_y = NumBlocks(columns / kGroupColumns, kQuantiseWarps),
          .block = kQuantiseWarps * kWarpThreads};
}
struct GroupOfColumns {
  int64_t row;
  int64_t group;
  int64_t first_column;  // of the lane's

  BATON_HOST_DEVICE constexpr bool IsIn(int64_t columns) const {
    return group * kGroupColumns < columns;
  }
};
BATON_HOST_DEVICE constexpr GroupOfColumns GroupOf(const LaunchThread& thread) {
  const int64_t group = thread.block_y * kQuantiseWarps + thread.warp();
  return {thread.block_x, group, group * kGroupColumns + thread.lane() * kLaneColumns};
}

// Rotary embedding: a block per row; thread t turns the pairs t, t + kRopeThreads, ... of all
// heads.
inline constexpr int kRopeThreads = 128;

constexpr LaunchShape RopeLaunch(int64_t rows, int64_t heads, int64_t dims) {
  return {.grid_x = heads * dims == 0 ? 0 : rows, .block = kRopeThreads};
}
BATON_HOST_DEVICE constexpr Steps<int64_t> RopePairs(const LaunchThread& thread, int64_t heads,
                                                     int64_t dims) {
  return {thread.index, kRopeThreads, heads * (dims / 2)};
}
// Where the first elements of a pair stand: in its row, and in the table's.
struct RopePair {
  int64_t column;
  int64_t angle;
};
BATON_HOST_DEVICE constexpr RopePair RopePairAt(int64_t pair, int64_t dims, int64_t head_stride) {
  const int64_t pairs = dims / 2;
  return {pair / pairs * head_stride + pair % pairs * 2, pair % pairs * 2};
}

// Writes to the cache: a block per row; thread t copies the columns t, t + kRopeThreads, ... of
// [latent | rotary key].
constexpr LaunchShape KvWriteLaunch(int64_t rows, int64_t width) {
  return {.grid_x = width == 0 ? 0 : rows, .block = kRopeThreads};
}
BATON_HOST_DEVICE constexpr Steps<int64_t> KvColumns(const LaunchThread& thread, int64_t width) {
  return {thread.index, kRopeThreads, width};
}
// The cache's row of a sequence's position; `blocks`: the sequence's row of the block tables.
BATON_HOST_DEVICE constexpr int64_t CacheRow(const int32_t* blocks, int64_t position) {
  return blocks[position / kBlockTokens] * kBlockTokens + position % kBlockTokens;
}

// The row of a shard's table that a token has, or -1: another shard has it.
BATON_HOST_DEVICE constexpr int64_t EmbeddingRow(uint32_t token_id, int64_t vocabulary_begin,
                                                 int64_t table_rows) {
  const int64_t row = int64_t{token_id} - vocabulary_begin;
  return row >= 0 && row < table_rows ? row : -1;
}

}  // namespace baton::kernels::cuda
