// Attention of a few queries of one length over a sequence's pages.
#pragma once

#include "kernels/cpu/variants/row_kernels.h"
#include "kernels/cpu/variants/simd_math.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

inline constexpr int64_t kPageTokens = 64;
inline constexpr int64_t kMaxAttendHeads = 4;  // queries handled together

template <typename Row>
const typename Row::Element* PageRow(const AttendArgs& args, int64_t position) {
  const int64_t row =
      int64_t{args.blocks[position / kPageTokens]} * kPageTokens + position % kPageTokens;
  return static_cast<const typename Row::Element*>(args.pages) + row * args.page_stride;
}

// How scores come about: the dot product of a query with the rows of kScoreRows tokens that stand
// together in a page. Lane l of an accumulator sums the elements l, l + 16, ...
template <typename Row>
struct WidenedScores {
  using Element = typename Row::Element;

  static F32x16 Of(const Element* q, const Element* keys, int64_t stride, int64_t width) {
    F32x16 sums[kScoreRows];
    for (int64_t j = 0; j < kScoreRows; j += kRows) {
      F32x16 part[kRows];
      for (F32x16& value : part) value = Zero();
      EachVector(width, [&](int64_t i, int64_t count) {
        const F32x16 query = Row::Get(q + i);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const F32x16 key = GetLanes<Row>(keys + (j + r) * stride + i, count);
          part[r] = MultiplyAdd(query, key, part[r]);
        }
      });
      for (int r = 0; r < kRows; ++r) sums[j + r] = part[r];
    }
    return ReduceAddRows(sums);
  }

#if defined(__AVX512F__)
  static constexpr int kRows = 16;
#else
  static constexpr int kRows = 4;
#endif
};

// Scores of positions [begin, end), scaled; returns the largest. Lanes behind `end` are -infinity.
template <typename Row, typename Scores>
float ScoreSplit(const AttendArgs& args, int64_t head, int64_t begin, int64_t end, float* scores) {
  const auto* q = static_cast<const typename Row::Element*>(args.q) + head * args.q_stride;
  F32x16 largest = Set(-__builtin_inff());
  const F32x16 scale = Set(args.scale);
  for (int64_t position = begin; position < end; position += kScoreRows) {
    // A page always holds whole groups; what stands behind the end is computed and dropped.
    const F32x16 dots = Scores::Of(q, PageRow<Row>(args, position), args.page_stride, args.width);
    float* group = scores + (position - begin);
    Store(group, dots * scale);
    for (int64_t j = end - position; j < kScoreRows; ++j) group[j] = -__builtin_inff();
    largest = Max(Load(group), largest);
  }
  return ReduceMax(largest);
}

// Scores become weights exp(score - largest); returns their sum.
inline float WeighSplit(float largest, int64_t count, float* scores) {
  F32x16 sum = Zero();
  const F32x16 origin = Set(largest);
  for (int64_t j = 0; j < count; j += kScoreRows) {
    const F32x16 weight = ExpOf(Load(scores + j) - origin);
    Store(scores + j, weight);
    sum = sum + weight;
  }
  return ReduceAdd(sum);
}

// sums[head][:] = sum over the split, in order, of weight * latent.
template <typename Row, int kHeads, int kVectors>
void SumTile(const AttendArgs& args, int64_t column, int64_t columns, int64_t begin, int64_t end,
             const float* weights, float* sums, int64_t sums_stride) {
  F32x16 total[kHeads][kVectors];
  for (auto& head : total) {
    for (F32x16& value : head) value = Zero();
  }
  for (int64_t page = begin; page < end; page += kPageTokens) {
    const auto* latent = PageRow<Row>(args, page) + args.value_column + column;
    const int64_t page_end = end - page < kPageTokens ? end - page : kPageTokens;
    for (int64_t j = 0; j < page_end; ++j, latent += args.page_stride) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const int64_t count = columns - v * kPanelColumns;
        const F32x16 value =
            GetLanes<Row>(latent + v * kPanelColumns, count < 16 ? count : kPanelColumns);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) {
          const float weight = weights[h * kSplitTokens + (page - begin) + j];
          total[h][v] = MultiplyAdd(Set(weight), value, total[h][v]);
        }
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) {
      Store(sums + h * sums_stride + column + v * kPanelColumns, total[h][v]);
    }
  }
}

#if defined(__AVX512F__)
inline constexpr int kSumVectors = 4;
#else
inline constexpr int kSumVectors = 2;
#endif

template <typename Row, int kHeads>
void SumSplit(const AttendArgs& args, int64_t begin, int64_t end, const float* weights, float* sums,
              int64_t sums_stride) {
  int64_t column = 0;
  constexpr int64_t kWide = kSumVectors * kPanelColumns;
  for (; column + kWide <= args.value_dims; column += kWide) {
    SumTile<Row, kHeads, kSumVectors>(args, column, kWide, begin, end, weights, sums, sums_stride);
  }
  for (; column < args.value_dims; column += kPanelColumns) {
    SumTile<Row, kHeads, 1>(args, column, args.value_dims - column, begin, end, weights, sums,
                            sums_stride);
  }
}

// A running softmax-weighted sum per head, extended split by split.
struct RunningSum {
  float largest = -__builtin_inff();
  float total = 0.0f;
};

inline float FactorOf(float difference) {
  float lanes[16];
  Store(lanes, ExpOf(Set(difference)));
  return lanes[0];
}

// Whether an earlier split stands in AttendArgs::state.
inline bool Continues(const AttendArgs& args) { return args.state != nullptr && !args.first_split; }

// What earlier splits left of one query; `sums` has room for AttendStateSums.
inline RunningSum LoadState(const AttendArgs& args, int64_t query, float* sums) {
  const int64_t size = AttendStateSums(args.value_dims);
  const float* from = args.state + query * AttendStateFloats(args.value_dims);
  for (int64_t i = 0; i < size; i += kPanelColumns) Store(sums + i, Load(from + i));
  return {from[size], from[size + 1]};
}

// Leaves one query's sums to the next split, or writes what they come to.
template <typename Row>
void StoreResult(const AttendArgs& args, int64_t query, const float* sums, RunningSum state) {
  if (args.state != nullptr && !args.last_split) {
    const int64_t size = AttendStateSums(args.value_dims);
    float* to = args.state + query * AttendStateFloats(args.value_dims);
    for (int64_t i = 0; i < size; i += kPanelColumns) Store(to + i, Load(sums + i));
    to[size] = state.largest;
    to[size + 1] = state.total;
    return;
  }
  auto* out = static_cast<typename Row::Element*>(args.out[query]);
  EachVector(args.value_dims, [&](int64_t i, int64_t count) {
    PutLanes<Row>(out + i, Load(sums + i) / Set(state.total), count);
  });
}

// Queries [first, first + kHeads) of the call, which have one length.
template <typename Row, typename Scores, int kHeads>
void AttendHeads(const AttendArgs& args, int64_t first) {
  const int64_t length = args.lengths[first];
  const int64_t stride = (args.value_dims + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
  float* weights = args.scratch;                           // [heads][kSplitTokens]
  float* sums = weights + kMaxAttendHeads * kSplitTokens;  // [heads][stride]: one split
  float* running = sums + kMaxAttendHeads * stride;        // [heads][stride]: all so far
  RunningSum state[kHeads];
  const bool continues = Continues(args);
  for (int h = 0; continues && h < kHeads; ++h) {
    state[h] = LoadState(args, first + h, running + h * stride);
  }
  for (int64_t begin = 0; begin < length; begin += kSplitTokens) {
    const int64_t end = length - begin < kSplitTokens ? length : begin + kSplitTokens;
    float largest[kHeads];
    float totals[kHeads];
    for (int h = 0; h < kHeads; ++h) {
      float* scores = weights + h * kSplitTokens;
      largest[h] = ScoreSplit<Row, Scores>(args, first + h, begin, end, scores);
      totals[h] = WeighSplit(largest[h], end - begin, scores);
    }
    const bool alone = begin == 0 && !continues;
    float* split = alone ? running : sums;
    SumSplit<Row, kHeads>(args, begin, end, weights, split, stride);
    for (int h = 0; h < kHeads; ++h) {
      if (alone) {
        state[h] = {largest[h], totals[h]};
        continue;
      }
      const float top = largest[h] > state[h].largest ? largest[h] : state[h].largest;
      const float old_factor = FactorOf(state[h].largest - top);
      const float new_factor = FactorOf(largest[h] - top);
      state[h] = {top, state[h].total * old_factor + totals[h] * new_factor};
      for (int64_t i = 0; i < stride; i += kPanelColumns) {
        float* sum = running + h * stride + i;
        const F32x16 added = Load(sums + h * stride + i) * Set(new_factor);
        Store(sum, MultiplyAdd(Load(sum), Set(old_factor), added));
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    StoreResult<Row>(args, first + h, running + h * stride, state[h]);
  }
}

template <typename Row, typename Scores>
void AttendGroup(const AttendArgs& args) {
  for (int64_t first = 0; first < args.num_queries;) {
    int64_t count = 1;
    while (count < kMaxAttendHeads && first + count < args.num_queries &&
           args.lengths[first + count] == args.lengths[first]) {
      ++count;
    }
    switch (count) {
      case 1:
        AttendHeads<Row, Scores, 1>(args, first);
        break;
      case 2:
        AttendHeads<Row, Scores, 2>(args, first);
        break;
      case 3:
        AttendHeads<Row, Scores, 3>(args, first);
        break;
      default:
        AttendHeads<Row, Scores, 4>(args, first);
    }
    first += count;
  }
}

void AttendWidened(const AttendArgs& args) {
  args.bfloat16 ? AttendGroup<BFloat16Row, WidenedScores<BFloat16Row>>(args)
                : AttendGroup<Float32Row, WidenedScores<Float32Row>>(args);
}

}  // namespace
}  // namespace baton::kernels::cpu
