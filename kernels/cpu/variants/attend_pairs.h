// Attention in bfloat16 through vdpbf16ps, for many queries of one sequence at a time: heads of a
// row, and neighbouring rows of a prompt.
//
// Many queries are turned once, so that a lane is a query: scores of a position are then one vector
// per sixteen queries, whose keys are broadcast from the page as they stand there. For few queries
// the keys are turned instead, and a lane is a position. Either way a score is one sum over the
// width, two steps at a time, and a total has sixteen parts, by position; so a query's bits do not
// depend on the others. Weights are rounded to bfloat16 and stand in pairs of positions; weighted
// sums are products with two latents interleaved. Positions behind a query's end weigh nothing.
#pragma once

#include "kernels/cpu/variants/attend_kernels.h"
#include "kernels/cpu/variants/product_pairs.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
namespace baton::kernels::cpu {
namespace {

inline constexpr int64_t kQueryLanes = 16;
inline constexpr int64_t kFewQueries = 8;   // for so many, keys are turned
inline constexpr int64_t kMostSumRows = 8;  // queries of a tile of weighted sums
inline constexpr int64_t kSumColumns = 32;  // latents of one
inline constexpr int64_t kTurnedPairs = 16;
static_assert(kMaxAttendQueries == 2 * kQueryLanes);

// Places in AttendArgs::scratch; a pair is two bfloat16 in 32 bits.
struct PairScratch {
  explicit PairScratch(const AttendArgs& args)
      : sums_stride((args.value_dims + kSumColumns - 1) / kSumColumns * kSumColumns),
        queries(reinterpret_cast<uint32_t*>(args.scratch)),
        scores(args.scratch + kMaxAttendQueries * args.q_stride / 2),
        weights(reinterpret_cast<uint32_t*>(scores + kSplitTokens * kMaxAttendQueries)),
        sums(scores + kSplitTokens * kMaxAttendQueries * 3 / 2),
        running(sums + kMaxAttendQueries * sums_stride) {
    const float* end = running + kMaxAttendQueries * sums_stride;
    if (end - args.scratch > AttendScratchFloats(args.value_dims, args.q_stride)) __builtin_trap();
  }

  int64_t sums_stride;
  uint32_t* queries;  // [q_stride / 2 pairs][queries, whole vectors]; many queries only
  float* scores;      // [kSplitTokens][queries]; of few queries [queries][kSplitTokens]
  uint32_t* weights;  // [kSplitTokens / 2 pairs][queries, whole vectors]
  float* sums;        // [queries][sums_stride]: one split
  float* running;     // [queries][sums_stride]: all so far
};

// Sixteen vectors of sixteen pairs, rows to columns.
inline void TransposePairs(__m512i* rows) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  __m512i u[16];
  for (int i = 0; i < 4; ++i) {
    u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  // u[4 g + c], lane l: column 4 l + c of rows 4 g .. 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88);  // lanes 0 and 2
    const __m512i b = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd);  // lanes 1 and 3
    const __m512i d = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
    const __m512i e = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
    rows[c] = _mm512_shuffle_i32x4(a, d, 0x88);
    rows[4 + c] = _mm512_shuffle_i32x4(b, e, 0x88);
    rows[8 + c] = _mm512_shuffle_i32x4(a, d, 0xdd);
    rows[12 + c] = _mm512_shuffle_i32x4(b, e, 0xdd);
  }
}

// Queries as [pair][vectors * 16]; lanes without a query are zero.
inline void TurnQueries(const AttendArgs& args, int64_t vectors, uint32_t* to) {
  const auto* q = static_cast<const uint16_t*>(args.q);
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t first = v * kQueryLanes;
    for (int64_t i = 0; i < args.q_stride; i += 2 * kTurnedPairs) {
      __m512i rows[kQueryLanes];
      for (int64_t r = 0; r < kQueryLanes; ++r) {
        rows[r] = first + r < args.num_queries
                      ? _mm512_loadu_si512(q + (first + r) * args.q_stride + i)
                      : _mm512_setzero_si512();
      }
      TransposePairs(rows);
      for (int64_t j = 0; j < kTurnedPairs; ++j) {
        _mm512_storeu_si512(to + ((i / 2 + j) * vectors + v) * kQueryLanes, rows[j]);
      }
    }
  }
}

// sum[position][vector] += key pairs of kPositions positions times the queries' pairs. Keys beyond
// the eighth stand `eight` elements behind those of the first eight rows.
template <int kPositions, int kVectors, int kPosition = 0>
__attribute__((always_inline)) inline void AddKeys(const uint16_t* const* keys, int64_t i,
                                                   int64_t eight, const __m512i* query,
                                                   __m512* sum) {
  const __m512i key = BroadcastPair(keys[kPosition % 8] + (kPosition < 8 ? i : i + eight));
  sum[kPosition * kVectors] = DotPairs(sum[kPosition * kVectors], key, query[0]);
  if constexpr (kVectors > 1) {
    sum[kPosition * kVectors + 1] = DotPairs(sum[kPosition * kVectors + 1], key, query[1]);
  }
  if constexpr (kPosition + 1 < kPositions) {
    AddKeys<kPositions, kVectors, kPosition + 1>(keys, i, eight, query, sum);
  }
}

// Scores of kPositions positions that stand together in a page: [position][kVectors * 16].
template <int kVectors>
__attribute__((noinline)) void ScorePairs(const uint16_t* rows, int64_t stride, int64_t width,
                                          const uint32_t* queries, float scale, float* scores) {
  constexpr int kPositions = kVectors == 1 ? 16 : 8;
  const uint16_t* keys[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) keys[r] = rows + r * stride;
  __m512 sum[kPositions * kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kPositions * kVectors; ++i) sum[i] = _mm512_setzero_ps();
  const int64_t eight = 8 * stride;
  int64_t i = 0;
  for (; i + 2 <= width; i += 2, queries += kVectors * kQueryLanes) {
    __m512i query[kVectors];
    query[0] = _mm512_loadu_si512(queries);
    if constexpr (kVectors > 1) query[1] = _mm512_loadu_si512(queries + kQueryLanes);
    AddKeys<kPositions, kVectors>(keys, i, eight, query, sum);
  }
  if (i < width) {  // half a pair; the queries' other half is zero, but a key's may be anything
#pragma GCC unroll 16
    for (int p = 0; p < kPositions; ++p) {
      const __m512i key = _mm512_set1_epi32(rows[p * stride + i]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const __m512i query = _mm512_loadu_si512(queries + v * kQueryLanes);
        sum[p * kVectors + v] = DotPairs(sum[p * kVectors + v], key, query);
      }
    }
  }
  const __m512 factor = _mm512_set1_ps(scale);
#pragma GCC unroll 16
  for (int p = 0; p < kPositions * kVectors; ++p) {
    _mm512_storeu_ps(scores + p * kQueryLanes, _mm512_mul_ps(sum[p], factor));
  }
}

template <int kVectors>
void ScorePositions(const AttendArgs& args, int64_t begin, int64_t end,
                    const PairScratch& scratch) {
  constexpr int kPositions = kVectors == 1 ? 16 : 8;
  static_assert(kScoreRows % kPositions == 0);  // a page always holds whole groups
  for (int64_t position = begin; position < end; position += kPositions) {
    ScorePairs<kVectors>(PageRow<BFloat16Row>(args, position), args.page_stride, args.width,
                         scratch.queries, args.scale,
                         scratch.scores + (position - begin) * kVectors * kQueryLanes);
  }
}

// Running softmax-weighted sums, a lane per query.
struct PairStates {
  alignas(64) float largest[kMaxAttendQueries];
  alignas(64) float total[kMaxAttendQueries];
};

inline constexpr int64_t kTotalParts =
    16;  // of the sum of weights: positions 0, 16, ..., 1, 17, ...

// Scores of one vector of queries become weights exp(score - largest), rounded to bfloat16 and in
// pairs of positions. A lane that ended before `begin` gets weights of 0, a total of 0 and a
// largest score of -infinity.
inline void WeighPairs(int64_t count, int64_t begin, __m512i lengths, int64_t stride, float* scores,
                       uint32_t* weights, float* largest, float* total) {
  const __m512 none = _mm512_set1_ps(-__builtin_inff());
  const auto valid = [&](int64_t j) {
    return _mm512_cmpgt_epi32_mask(lengths, _mm512_set1_epi32(static_cast<int>(begin + j)));
  };
  __m512 most = none;
  for (int64_t j = 0; j < count; ++j) {
    most = _mm512_mask_max_ps(most, valid(j), most, _mm512_loadu_ps(scores + j * stride));
  }
  _mm512_storeu_ps(largest, most);
  __m512 parts[kTotalParts];
  for (__m512& part : parts) part = _mm512_setzero_ps();
  const auto weight_of = [&](int64_t j) {
    if (j >= count) return _mm512_setzero_ps();
    const F32x16 score = {_mm512_sub_ps(_mm512_loadu_ps(scores + j * stride), most)};
    const __m512 weight = _mm512_maskz_mov_ps(valid(j), ExpOf(score).v);
    parts[j % kTotalParts] = _mm512_add_ps(parts[j % kTotalParts], weight);
    return weight;
  };
  for (int64_t j = 0; j < count; j += 2) {
    const __m512i first = _mm512_srli_epi32(RoundedBits({weight_of(j)}), 16);
    const __m512i second = _mm512_and_si512(RoundedBits({weight_of(j + 1)}),
                                            _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
    _mm512_storeu_si512(weights + j / 2 * stride, _mm512_or_si512(first, second));
  }
  // In the order of ReduceAdd.
  for (int64_t width = kTotalParts / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) parts[i] = _mm512_add_ps(parts[i], parts[i + width]);
  }
  _mm512_storeu_ps(total, parts[0]);
}

// Scores of kRows queries with the 16 positions at `rows`: scores[query * kSplitTokens + position].
template <int kRows>
__attribute__((noinline)) void ScoreFew(const AttendArgs& args, const uint16_t* rows,
                                        float* scores) {
  const auto* q = static_cast<const uint16_t*>(args.q);
  __m512 sum[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sum[r] = _mm512_setzero_ps();
  for (int64_t i = 0; i < args.width; i += 2 * kTurnedPairs) {
    const int64_t rest = args.width - i;
    const __mmask32 valid = rest >= 2 * kTurnedPairs ? ~__mmask32{0} : (1u << rest) - 1u;
    __m512i keys[kScoreRows];
#pragma GCC unroll 16
    for (int j = 0; j < kScoreRows; ++j) {
      keys[j] = _mm512_maskz_loadu_epi16(valid, rows + j * args.page_stride + i);
    }
    TransposePairs(keys);
#pragma GCC unroll 16
    for (int j = 0; j < kTurnedPairs; ++j) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        sum[r] = DotPairs(sum[r], keys[j], BroadcastPair(q + r * args.q_stride + i + 2 * j));
      }
    }
  }
  const __m512 factor = _mm512_set1_ps(args.scale);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(scores + r * kSplitTokens, _mm512_mul_ps(sum[r], factor));
  }
}

template <int kRows = kFewQueries>
inline void ScoreFewOf(const AttendArgs& args, const uint16_t* rows, float* scores) {
  if constexpr (kRows > 1) {
    if (args.num_queries < kRows) return ScoreFewOf<kRows - 1>(args, rows, scores);
  }
  ScoreFew<kRows>(args, rows, scores);
}

// As WeighPairs, for one query whose scores stand one behind the other; weights[pair * stride].
inline void WeighQueryPairs(int64_t count, int64_t own, int64_t stride, float* scores,
                            uint32_t* weights, float* largest, float* total) {
  const __m512 none = _mm512_set1_ps(-__builtin_inff());
  const auto valid = [&](int64_t j) {
    const int64_t rest = own - j;
    return rest >= 16 ? __mmask16{0xffff} : rest <= 0 ? __mmask16{0} : FirstLanes(rest);
  };
  __m512 most = none;
  for (int64_t j = 0; j < own; j += 16) {
    most = _mm512_mask_max_ps(most, valid(j), most, _mm512_loadu_ps(scores + j));
  }
  *largest = ReduceMax({most});
  const F32x16 origin = Set(*largest);
  F32x16 parts = Zero();
  for (int64_t j = 0; j < count; j += 16) {
    const F32x16 weight = {_mm512_maskz_mov_ps(valid(j), ExpOf(Load(scores + j) - origin).v)};
    parts = parts + weight;
    alignas(32) uint32_t pairs[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), NarrowBf16(weight));
    for (int64_t i = 0; i < 8; ++i) weights[(j / 2 + i) * stride] = pairs[i];
  }
  *total = ReduceAdd(parts);
}

// sum[query][two halves] += weights of a pair of positions times the interleaved latents.
template <int kRows, int kRow = 0>
__attribute__((always_inline)) inline void AddLatents(const uint32_t* weights, __m512i low,
                                                      __m512i high, __m512* sum) {
  const __m512i weight = _mm512_set1_epi32(static_cast<int>(weights[kRow]));
  sum[2 * kRow] = DotPairs(sum[2 * kRow], weight, low);
  sum[2 * kRow + 1] = DotPairs(sum[2 * kRow + 1], weight, high);
  if constexpr (kRow + 1 < kRows) AddLatents<kRows, kRow + 1>(weights, low, high, sum);
}

// sums[query][32 columns from `column` on] = sum over positions [begin, end), in pairs in order, of
// weight * latent. `weights`: [pair][stride], of the first query; columns behind `valid` are 0.
template <int kRows>
__attribute__((noinline)) void SumPairs(const AttendArgs& args, int64_t column, __mmask32 valid,
                                        int64_t begin, int64_t end, const uint32_t* weights,
                                        int64_t stride, float* sums, int64_t sums_stride) {
  __m512 sum[2 * kRows];
#pragma GCC unroll 16
  for (int i = 0; i < 2 * kRows; ++i) sum[i] = _mm512_setzero_ps();
  for (int64_t page = begin; page < end; page += kPageTokens) {
    const uint16_t* latent = PageRow<BFloat16Row>(args, page) + args.value_column + column;
    const int64_t count = end - page < kPageTokens ? end - page : kPageTokens;
    for (int64_t j = 0; j < count; j += 2, latent += 2 * args.page_stride, weights += stride) {
      const __m512i first = _mm512_maskz_loadu_epi16(valid, latent);
      // What stands behind the end may be anything.
      const __mmask32 both = j + 1 < count ? valid : 0;
      const __m512i second = _mm512_maskz_loadu_epi16(both, latent + args.page_stride);
      AddLatents<kRows>(weights, _mm512_unpacklo_epi16(first, second),
                        _mm512_unpackhi_epi16(first, second), sum);
    }
  }
  // Lanes of 128 bits hold columns 8 l .. 8 l + 3 (low) and 8 l + 4 .. 8 l + 7 (high).
  const __m512i order0 = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i order1 =
      _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* to = sums + r * sums_stride + column;
    _mm512_storeu_ps(to, _mm512_permutex2var_ps(sum[2 * r], order0, sum[2 * r + 1]));
    _mm512_storeu_ps(to + 16, _mm512_permutex2var_ps(sum[2 * r], order1, sum[2 * r + 1]));
  }
}

template <int kRows = kMostSumRows>
inline void SumPairsOf(int64_t rows, const AttendArgs& args, int64_t column, __mmask32 valid,
                       int64_t begin, int64_t end, const uint32_t* weights, int64_t stride,
                       float* sums, int64_t sums_stride) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      return SumPairsOf<kRows - 1>(rows, args, column, valid, begin, end, weights, stride, sums,
                                   sums_stride);
    }
  }
  SumPairs<kRows>(args, column, valid, begin, end, weights, stride, sums, sums_stride);
}

// Weighted sums of the split [begin, end) for queries [first_query, num_queries).
inline void SumLatents(const AttendArgs& args, int64_t first_query, int64_t stride, int64_t begin,
                       int64_t end, const PairScratch& scratch, float* sums) {
  const int64_t queries = args.num_queries - first_query;
  const int64_t blocks = (queries + kMostSumRows - 1) / kMostSumRows;
  for (int64_t column = 0; column < args.value_dims; column += kSumColumns) {
    const int64_t columns = args.value_dims - column;
    const __mmask32 valid = columns >= kSumColumns ? ~__mmask32{0} : (1u << columns) - 1u;
    int64_t query = first_query;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t rows = queries / blocks + (b < queries % blocks ? 1 : 0);
      const int64_t longest = args.lengths[query + rows - 1];
      SumPairsOf(rows, args, column, valid, begin, longest < end ? longest : end,
                 scratch.weights + query, stride, sums + query * scratch.sums_stride,
                 scratch.sums_stride);
      query += rows;
    }
  }
}

// running = both sums, each times what its largest score is worth below the larger one.
inline void JoinSplit(const AttendArgs& args, int64_t first_query, int64_t vectors,
                      const PairScratch& scratch, const PairStates& split, PairStates* running) {
  alignas(64) float old_factors[kMaxAttendQueries];
  alignas(64) float new_factors[kMaxAttendQueries];
  for (int64_t i = 0; i < vectors * kQueryLanes; i += kQueryLanes) {
    const F32x16 before = Load(running->largest + i);
    const F32x16 added = Load(split.largest + i);
    const F32x16 top = Max(added, before);
    const F32x16 old_factor = ExpOf(before - top);
    const F32x16 new_factor = ExpOf(added - top);
    Store(old_factors + i, old_factor);
    Store(new_factors + i, new_factor);
    Store(running->largest + i, top);
    const F32x16 added_total = Load(split.total + i) * new_factor;
    Store(running->total + i, MultiplyAdd(Load(running->total + i), old_factor, added_total));
  }
  for (int64_t query = first_query; query < args.num_queries; ++query) {
    float* sums = scratch.running + query * scratch.sums_stride;
    const float* added = scratch.sums + query * scratch.sums_stride;
    const F32x16 old_factor = Set(old_factors[query]);
    const F32x16 new_factor = Set(new_factors[query]);
    for (int64_t i = 0; i < scratch.sums_stride; i += kPanelColumns) {
      Store(sums + i, MultiplyAdd(Load(sums + i), old_factor, Load(added + i) * new_factor));
    }
  }
}

template <int kVectors>
void WeighMany(const AttendArgs& args, int64_t begin, int64_t end, const PairScratch& scratch,
               PairStates* state) {
  constexpr int64_t kStride = kVectors * kQueryLanes;
  alignas(64) int32_t lengths[kStride] = {};
  for (int64_t query = 0; query < args.num_queries; ++query) lengths[query] = args.lengths[query];
  ScorePositions<kVectors>(args, begin, end, scratch);
  for (int64_t i = 0; i < kStride; i += kQueryLanes) {
    WeighPairs(end - begin, begin, _mm512_load_si512(lengths + i), kStride, scratch.scores + i,
               scratch.weights + i, state->largest + i, state->total + i);
  }
}

inline void WeighFew(const AttendArgs& args, int64_t begin, int64_t end, const PairScratch& scratch,
                     PairStates* state) {
  for (int64_t position = begin; position < end; position += kScoreRows) {
    ScoreFewOf(args, PageRow<BFloat16Row>(args, position), scratch.scores + (position - begin));
  }
  for (int64_t query = 0; query < args.num_queries; ++query) {
    const int64_t own = args.lengths[query] < end ? args.lengths[query] - begin : end - begin;
    WeighQueryPairs(end - begin, own, kQueryLanes, scratch.scores + query * kSplitTokens,
                    scratch.weights + query, state->largest + query, state->total + query);
  }
}

void AttendQueriesInPairs(const AttendArgs& args) {
  const PairScratch scratch(args);
  const int64_t vectors = args.num_queries > kQueryLanes ? 2 : 1;
  const int64_t length = args.lengths[args.num_queries - 1];
  const bool few = args.num_queries <= kFewQueries;
  if (!few) TurnQueries(args, vectors, scratch.queries);
  PairStates running = {};
  const bool continues = Continues(args);
  for (int64_t query = 0; continues && query < args.num_queries; ++query) {
    const RunningSum sum = LoadState(args, query, scratch.running + query * scratch.sums_stride);
    running.largest[query] = sum.largest;
    running.total[query] = sum.total;
  }
  int64_t first_query = 0;  // that reaches the split
  for (int64_t begin = 0; begin < length; begin += kSplitTokens) {
    const int64_t end = length - begin < kSplitTokens ? length : begin + kSplitTokens;
    while (args.lengths[first_query] <= begin) ++first_query;
    PairStates split = {};
    const bool alone = begin == 0 && !continues;
    PairStates* state = alone ? &running : &split;
    if (few) {
      WeighFew(args, begin, end, scratch, state);
    } else {
      vectors == 2 ? WeighMany<2>(args, begin, end, scratch, state)
                   : WeighMany<1>(args, begin, end, scratch, state);
    }
    SumLatents(args, first_query, vectors * kQueryLanes, begin, end, scratch,
               alone ? scratch.running : scratch.sums);
    if (!alone) JoinSplit(args, first_query, vectors, scratch, split, &running);
  }
  for (int64_t query = 0; query < args.num_queries; ++query) {
    StoreResult<BFloat16Row>(args, query, scratch.running + query * scratch.sums_stride,
                             {running.largest[query], running.total[query]});
  }
}

void AttendPairs(const AttendArgs& args) {
  if (!args.bfloat16) return AttendGroup<Float32Row, WidenedScores<Float32Row>>(args);
  AttendQueriesInPairs(args);
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
