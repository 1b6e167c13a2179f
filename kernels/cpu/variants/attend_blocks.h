// Attention of many queries of one sequence at a time: heads of a row, and neighbouring rows of a
// prompt. Keys of kScoreRows positions are widened and turned once for all queries; scores and
// weighted sums are then products like those of product_columns.h, queries in blocks of
// kQueryRows as rows. What a query sums, and in which order, does not depend on the others:
// positions behind its end weigh nothing.
#pragma once

#include "kernels/cpu/variants/attend_kernels.h"

// AVX-512 attends by attend_kernels.h and attend_pairs.h.
#if !defined(__AVX512F__)

namespace baton::kernels::cpu {
namespace {

inline constexpr int kQueryRows = 6;

// Full vectors of latents, in the order of Split().
inline F32x16 GetSplit(const float* p) { return Split(Load(p)); }
inline F32x16 GetSplit(const uint16_t* p) { return LoadSplitBf16(p); }

// Columns of a sum that a tile of that many queries takes side by side, in vectors.
constexpr int VectorsBeside(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

// Queries [first, first + rows) of a call; blocks differ by one query at most.
struct QueryBlock {
  int64_t first = 0;
  int64_t rows = 0;
};

inline QueryBlock BlockOfQueries(int64_t queries, int64_t blocks, int64_t index) {
  const int64_t rest = queries % blocks;
  const int64_t rows = queries / blocks;
  return {index * rows + (index < rest ? index : rest), rows + (index < rest ? 1 : 0)};
}

// Places in AttendArgs::scratch.
struct BlockScratch {
  explicit BlockScratch(const AttendArgs& args)
      : sums_stride((args.value_dims + kPanelColumns - 1) / kPanelColumns * kPanelColumns),
        queries(args.scratch),
        keys(queries + kMaxAttendQueries * args.q_stride),
        scores(keys + args.q_stride * kScoreRows),
        weights(scores + kMaxAttendQueries * kSplitTokens),
        sums(weights + kMaxAttendQueries * kSplitTokens),
        running(sums + kMaxAttendQueries * sums_stride) {}

  int64_t sums_stride;
  float* queries;  // [block][width][queries of the block]
  float* keys;     // [width][kScoreRows]
  float* scores;   // [queries][kSplitTokens]
  float* weights;  // [block][kSplitTokens][queries of the block]
  float* sums;     // [queries][sums_stride]: one split
  float* running;  // [queries][sums_stride]: all so far
};

template <typename Row>
void PackQueries(const AttendArgs& args, int64_t blocks, float* to) {
  for (int64_t b = 0; b < blocks; ++b) {
    const QueryBlock block = BlockOfQueries(args.num_queries, blocks, b);
    for (int64_t r = 0; r < block.rows; ++r) {
      const auto* q =
          static_cast<const typename Row::Element*>(args.q) + (block.first + r) * args.q_stride;
      EachVector(args.width, [&](int64_t i, int64_t count) {
        float lanes[kPanelColumns];
        Store(lanes, GetLanes<Row>(q + i, count));
        for (int64_t lane = 0; lane < count; ++lane) to[(i + lane) * block.rows + r] = lanes[lane];
      });
    }
    to += block.rows * args.width;
  }
}

// keys[i][j] = element i of position j.
template <typename Row>
void TurnKeys(const typename Row::Element* rows, int64_t stride, int64_t width, float* keys) {
  EachVector(width, [&](int64_t i, int64_t count) {
    F32x16 lanes[kScoreRows];
    for (int64_t j = 0; j < kScoreRows; ++j) lanes[j] = GetLanes<Row>(rows + j * stride + i, count);
    if (count == kPanelColumns) return StoreTransposed(lanes, keys + i * kScoreRows);
    float square[kPanelColumns * kScoreRows];
    StoreTransposed(lanes, square);
    for (int64_t e = 0; e < count * kScoreRows; ++e) keys[i * kScoreRows + e] = square[e];
  });
}

// Scores of kRows packed queries with kScoreRows turned keys.
template <int kRows>
void ScoreTile(const float* queries, const float* keys, int64_t width, F32x16 scale,
               float* scores) {
  F32x16 sum[kRows];
  for (F32x16& value : sum) value = Zero();
  for (int64_t i = 0; i < width; ++i) {
    const F32x16 key = Load(keys + i * kScoreRows);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sum[r] = MultiplyAdd(Set(queries[i * kRows + r]), key, sum[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) Store(scores + r * kSplitTokens, sum[r] * scale);
}

// sums[query][column ...] = sum over positions [begin, end), in order, of weight * latent.
template <typename Row, int kRows, int kVectors>
void WeightedTile(const AttendArgs& args, int64_t column, int64_t columns, int64_t begin,
                  int64_t end, const float* weights, float* sums, int64_t sums_stride) {
  F32x16 total[kRows][kVectors];
  for (auto& row : total) {
    for (F32x16& value : row) value = Zero();
  }
  const bool whole = columns >= kVectors * kPanelColumns;
  for (int64_t page = begin; page < end; page += kPageTokens) {
    const auto* latent = PageRow<Row>(args, page) + args.value_column + column;
    const int64_t page_end = end - page < kPageTokens ? end - page : kPageTokens;
    for (int64_t j = 0; j < page_end; ++j, latent += args.page_stride, weights += kRows) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const F32x16 value =
            whole ? GetSplit(latent + v * kPanelColumns) : Split(Row::GetPartial(latent, columns));
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          total[r][v] = MultiplyAdd(Set(weights[r]), value, total[r][v]);
        }
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      Store(sums + r * sums_stride + column + v * kPanelColumns, Join(total[r][v]));
    }
  }
}

template <typename Row, int kRows>
void WeightedSums(const AttendArgs& args, int64_t begin, int64_t end, const float* weights,
                  float* sums, int64_t sums_stride) {
  constexpr int kVectors = VectorsBeside(kRows);
  constexpr int64_t kWide = kVectors * kPanelColumns;
  int64_t column = 0;
  for (; column + kWide <= args.value_dims; column += kWide) {
    WeightedTile<Row, kRows, kVectors>(args, column, kWide, begin, end, weights, sums, sums_stride);
  }
  for (; column < args.value_dims; column += kPanelColumns) {
    WeightedTile<Row, kRows, 1>(args, column, args.value_dims - column, begin, end, weights, sums,
                                sums_stride);
  }
}

// Calls function.template operator()<rows>() for rows in [1, kQueryRows].
template <int kRows = kQueryRows, typename Function>
inline void WithRows(int64_t rows, const Function& function) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return WithRows<kRows - 1>(rows, function);
  }
  function.template operator()<kRows>();
}

// Scores of positions [begin, end) for every block that reaches them.
template <typename Row>
void ScoreBlocks(const AttendArgs& args, int64_t blocks, int64_t begin, int64_t end,
                 const BlockScratch& scratch) {
  const F32x16 scale = Set(args.scale);
  for (int64_t position = begin; position < end; position += kScoreRows) {
    // A page always holds whole groups; what stands behind the end is computed and dropped.
    TurnKeys<Row>(PageRow<Row>(args, position), args.page_stride, args.width, scratch.keys);
    for (int64_t b = 0; b < blocks; ++b) {
      const QueryBlock block = BlockOfQueries(args.num_queries, blocks, b);
      if (args.lengths[block.first + block.rows - 1] <= position) continue;
      float* scores = scratch.scores + block.first * kSplitTokens + (position - begin);
      const float* queries = scratch.queries + block.first * args.width;
      WithRows(block.rows, [&]<int kRows>() {
        ScoreTile<kRows>(queries, scratch.keys, args.width, scale, scores);
      });
    }
  }
}

// The share of one query in the split at `begin`; false if it ended before.
inline bool WeighQuery(const AttendArgs& args, int64_t query, int64_t begin, float* scores,
                       RunningSum* split) {
  const int64_t rest = args.lengths[query] - begin;
  if (rest <= 0) return false;
  const int64_t count = rest < kSplitTokens ? rest : kSplitTokens;
  for (int64_t j = count; j % kScoreRows != 0; ++j) scores[j] = -__builtin_inff();
  F32x16 largest = Set(-__builtin_inff());
  for (int64_t j = 0; j < count; j += kScoreRows) largest = Max(Load(scores + j), largest);
  split->largest = ReduceMax(largest);
  split->total = WeighSplit(split->largest, count, scores);
  return true;
}

// running = both sums, each times what its largest score is worth below the larger one.
inline void JoinSums(const float* sums, RunningSum split, int64_t stride, float* running,
                     RunningSum* state) {
  const float top = split.largest > state->largest ? split.largest : state->largest;
  const float old_factor = FactorOf(state->largest - top);
  const float new_factor = FactorOf(split.largest - top);
  *state = {top, state->total * old_factor + split.total * new_factor};
  for (int64_t i = 0; i < stride; i += kPanelColumns) {
    const F32x16 added = Load(sums + i) * Set(new_factor);
    Store(running + i, MultiplyAdd(Load(running + i), Set(old_factor), added));
  }
}

// One block's part of the split [begin, end).
template <typename Row>
void SumBlock(const AttendArgs& args, const QueryBlock& block, int64_t begin, int64_t end,
              const BlockScratch& scratch, RunningSum* states) {
  RunningSum splits[kQueryRows];
  bool reached[kQueryRows];
  const int64_t longest = args.lengths[block.first + block.rows - 1];
  const int64_t last = longest < end ? longest : end;
  float* weights = scratch.weights + block.first * kSplitTokens;
  for (int64_t r = 0; r < block.rows; ++r) {
    float* scores = scratch.scores + (block.first + r) * kSplitTokens;
    reached[r] = WeighQuery(args, block.first + r, begin, scores, &splits[r]);
    const int64_t own = reached[r] ? args.lengths[block.first + r] - begin : 0;
    for (int64_t j = 0; j < last - begin; ++j) {
      weights[j * block.rows + r] = j < own ? scores[j] : 0.0f;
    }
  }
  const int64_t at = block.first * scratch.sums_stride;
  const bool alone = begin == 0 && !Continues(args);
  float* sums = (alone ? scratch.running : scratch.sums) + at;
  WithRows(block.rows, [&]<int kRows>() {
    WeightedSums<Row, kRows>(args, begin, last, weights, sums, scratch.sums_stride);
  });
  for (int64_t r = 0; r < block.rows; ++r) {
    if (!reached[r]) continue;
    if (alone) {
      states[block.first + r] = splits[r];
    } else {
      const int64_t row = r * scratch.sums_stride;
      JoinSums(sums + row, splits[r], scratch.sums_stride, scratch.running + at + row,
               &states[block.first + r]);
    }
  }
}

template <typename Row>
void AttendQueries(const AttendArgs& args) {
  const BlockScratch scratch(args);
  const int64_t blocks = (args.num_queries + kQueryRows - 1) / kQueryRows;
  const int64_t length = args.lengths[args.num_queries - 1];
  RunningSum states[kMaxAttendQueries];
  PackQueries<Row>(args, blocks, scratch.queries);
  for (int64_t query = 0; Continues(args) && query < args.num_queries; ++query) {
    states[query] = LoadState(args, query, scratch.running + query * scratch.sums_stride);
  }
  for (int64_t begin = 0; begin < length; begin += kSplitTokens) {
    const int64_t end = length - begin < kSplitTokens ? length : begin + kSplitTokens;
    ScoreBlocks<Row>(args, blocks, begin, end, scratch);
    for (int64_t b = 0; b < blocks; ++b) {
      const QueryBlock block = BlockOfQueries(args.num_queries, blocks, b);
      if (args.lengths[block.first + block.rows - 1] <= begin) continue;
      SumBlock<Row>(args, block, begin, end, scratch, states);
    }
  }
  for (int64_t query = 0; query < args.num_queries; ++query) {
    StoreResult<Row>(args, query, scratch.running + query * scratch.sums_stride, states[query]);
  }
}

void AttendBlocks(const AttendArgs& args) {
  args.bfloat16 ? AttendQueries<BFloat16Row>(args) : AttendQueries<Float32Row>(args);
}

}  // namespace
}  // namespace baton::kernels::cpu

#endif
