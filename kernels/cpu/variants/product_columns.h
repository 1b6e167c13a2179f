// Products with panels in the columns layouts: elements widened to float32, one vector of 16
// columns per step of k.
//
// Rows are first copied as float32 into blocks of up to kBlockRows rows, [k][rows of the block], so
// that a tile reads them front to back. A chunk of blocks stays in the second cache (or the third)
// while all panels pass; a panel's scale block stays in the first while all blocks of rows pass.
// Sums of a scale block live in registers, totals over blocks in `scratch`.
#pragma once

#include "kernels/cpu/variants/compact_elements.h"
#include "kernels/cpu/variants/row_kernels.h"
#include "kernels/cpu/variants/simd.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

// Rows of a tile, and panels beside each other in one: accumulators (rows x panels vectors of 16
// lanes) fill the registers, and there are enough of them to hide the latency of multiply-add.
inline constexpr int kBlockRows = 6;
#if defined(__AVX512F__)
constexpr int PanelsBeside(int rows) { return rows == 1 ? 8 : 4; }
#else
constexpr int PanelsBeside(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }
#endif
inline constexpr int kMostPanelsBeside = PanelsBeside(1);
static_assert(kProductTotals >= kBlockRows * kMostPanelsBeside * kPanelColumns);

// Elements of a panel. Step() hands the vectors of kSteps steps of k to use(step, vector); x is
// multiplied by kFactor when it is copied.
struct Float32Elements {
  static constexpr int kSteps = 1;
  static constexpr int kBytes = 64;
  static constexpr float kFactor = 1.0f;
  template <typename Use>
  static void Step(const uint8_t* p, Use use) {
    use(0, Load(reinterpret_cast<const float*>(p)));
  }
};
struct BFloat16Elements {
  static constexpr int kSteps = 1;
  static constexpr int kBytes = 32;
  static constexpr float kFactor = 1.0f;
  template <typename Use>
  static void Step(const uint8_t* p, Use use) {
    use(0, LoadPanelBf16(reinterpret_cast<const uint16_t*>(p)));
  }
};
// As BFloat16Elements, in a compact layout: PanelReader takes them apart.
struct CompactColumns {
  static constexpr float kFactor = 1.0f;
};
struct Float8Elements {
  static constexpr int kSteps = kPanelFp8Steps;
  static constexpr int kBytes = 16 * kSteps;
  static constexpr float kFactor = kPanelFp8Factor;
  template <typename Use>
  static void Step(const uint8_t* p, Use use) {
    StepPanelFp8(p, use);
  }
};

inline int64_t SourceRow(const PanelProduct& g, int64_t row) {
  return g.row_index != nullptr ? g.row_index[row] : row;
}

inline int64_t PaddedK(const PanelProduct& g) {
  int64_t padded_k = 0;
  for (int64_t s = 0; s < g.num_segments; ++s) padded_k += g.segment_lengths[s];
  return padded_k;
}

inline F32x16 ScaleOf(const PanelProduct& g, int64_t panel, int64_t segment) {
  const int64_t index = panel * g.num_segments + segment;
  return g.lane_scales ? Load(g.scales + index * kPanelColumns) : Set(g.scales[index]);
}

inline void StoreOut(const PanelProduct& g, int64_t row, int64_t panel, F32x16 value) {
  const int64_t column = panel * kPanelColumns;
  const int64_t offset = row * g.out_stride + column;
  const int64_t count = g.out_columns - column;
  if (g.out_type == OutType::kFloat32) {
    float* out = static_cast<float*>(g.out) + offset;
    count >= kPanelColumns ? Store(out, value) : StorePartial(out, value, count);
  } else {
    uint16_t* out = static_cast<uint16_t*>(g.out) + offset;
    count >= kPanelColumns ? StoreBf16(out, value) : StoreBf16Partial(out, value, count);
  }
}

// Consecutive rows, cut into blocks whose sizes differ by one at most; the larger ones come first.
struct RowChunk {
  int64_t first = 0;  // of the product
  int64_t rows = 0;
  int64_t blocks = 0;

  int64_t BlockRows(int64_t block) const { return rows / blocks + (block < rows % blocks ? 1 : 0); }
};

// One row's elements [k, k + length) into out[0], out[stride], ..., times `factor`.
template <typename Row>
void ScatterRow(const typename Row::Element* x, int64_t length, float factor, int64_t stride,
                float* out) {
  const F32x16 factors = Set(factor);
  EachVector(length, [&](int64_t i, int64_t count) {
    const F32x16 value = GetLanes<Row>(x + i, count) * factors;
    if (stride == 1) {
      count == kPanelColumns ? Store(out + i, value) : StorePartial(out + i, value, count);
      return;
    }
    float lanes[kPanelColumns];
    Store(lanes, value);
    for (int64_t lane = 0; lane < count; ++lane) out[(i + lane) * stride] = lanes[lane];
  });
}

// The chunk's rows as [segment][block][k][rows of the block], segments padded with zeros.
template <typename Row>
void PackRows(const PanelProduct& g, const RowChunk& chunk, float factor, float* to) {
  const auto* x = static_cast<const typename Row::Element*>(g.x);
  int64_t k = 0;
  for (int64_t segment = 0; segment < g.num_segments; ++segment) {
    const int64_t size = g.segment_sizes[segment];
    const int64_t padded = g.segment_lengths[segment];
    int64_t row = chunk.first;
    for (int64_t block = 0; block < chunk.blocks; ++block) {
      const int64_t rows = chunk.BlockRows(block);
      for (int64_t r = 0; r < rows; ++r, ++row) {
        ScatterRow<Row>(x + SourceRow(g, row) * g.x_stride + k, size, factor, rows, to + r);
      }
      for (int64_t i = size * rows; i < padded * rows; ++i) to[i] = 0.0f;
      to += padded * rows;
    }
    k += size;
  }
}

// sum[row][0] += x[row] * value. Rows and panels are counted at compile time: of a loop that the
// compiler unrolls itself, it may leave an array of sums in memory.
template <int kRows, int kPanels, int kRow = 0>
__attribute__((always_inline)) inline void AddRows(const float* x, F32x16 value, F32x16* sum) {
  sum[kRow * kPanels] = MultiplyAdd(Set(x[kRow]), value, sum[kRow * kPanels]);
  if constexpr (kRow + 1 < kRows) AddRows<kRows, kPanels, kRow + 1>(x, value, sum);
}

// sum[row][panel] += what Elements::kSteps steps of k give; kAhead: see SegmentTile.
template <typename Elements, int kRows, int kPanels, bool kAhead, int kPanel = 0>
__attribute__((always_inline)) inline void AddPanels(const float* x, const uint8_t* w,
                                                     int64_t panel_bytes, F32x16* sum) {
  if constexpr (kAhead) __builtin_prefetch(w + kPanels * panel_bytes, 0, 2);
  Elements::Step(
      w, [&](int step, F32x16 value) __attribute__((always_inline)) {
        AddRows<kRows, kPanels>(x + step * kRows, value, sum + kPanel);
      });
  if constexpr (kPanel + 1 < kPanels) {
    AddPanels<Elements, kRows, kPanels, kAhead, kPanel + 1>(x, w + panel_bytes, panel_bytes, sum);
  }
}

// One row reads more than it multiplies. The processor's own prefetch starts anew with each group
// of panels; short groups therefore ask for the next one beside their own.
inline constexpr int64_t kPrefetchBytes = 64 * 1024;

// One scale block of kRows packed rows and kPanels panels, added to totals[row][panel][16]. Never
// inlined: its sums need the registers that a caller's loops would take. kAhead: the same place in
// the next group of panels is prefetched.
template <typename Elements, int kRows, int kPanels, bool kAhead = false>
__attribute__((noinline)) void SegmentTile(const float* x, const uint8_t* w, int64_t panel_bytes,
                                           int64_t length, const F32x16* scales, float* totals) {
  F32x16 sum[kRows * kPanels];
#pragma GCC unroll 24
  for (int i = 0; i < kRows * kPanels; ++i) sum[i] = Zero();
  for (int64_t k = 0; k < length; k += Elements::kSteps) {
    AddPanels<Elements, kRows, kPanels, kAhead>(x, w, panel_bytes, sum);
    x += kRows * Elements::kSteps;
    w += Elements::kBytes;
  }
#pragma GCC unroll 24
  for (int i = 0; i < kRows * kPanels; ++i) {
    float* total = totals + i * kPanelColumns;
    Store(total, MultiplyAdd(sum[i], scales[i % kPanels], Load(total)));
  }
}

// As SegmentTile, for a number of rows that is known at run time.
template <typename Elements, int kPanels, int kRows = kBlockRows>
inline void SegmentTileOf(int64_t rows, const float* x, const uint8_t* w, int64_t panel_bytes,
                          int64_t length, const F32x16* scales, float* totals) {
  if constexpr (kRows == 1) {
    kPanels* panel_bytes <= kPrefetchBytes
        ? SegmentTile<Elements, 1, kPanels, true>(x, w, panel_bytes, length, scales, totals)
        : SegmentTile<Elements, 1, kPanels>(x, w, panel_bytes, length, scales, totals);
  } else if (rows == kRows) {
    SegmentTile<Elements, kRows, kPanels>(x, w, panel_bytes, length, scales, totals);
  } else {
    // Fewer rows make wider tiles: narrower rows than this width takes do not occur.
    constexpr bool kFits = kPanels == 1 || PanelsBeside(kRows - 1) == kPanels;
    if constexpr (kFits) {
      SegmentTileOf<Elements, kPanels, kRows - 1>(rows, x, w, panel_bytes, length, scales, totals);
    }
  }
}

// One scale block of the chunk's rows, and of kPanels panels that stand `panel_bytes` apart.
template <typename Elements, int kPanels, int kMostRows>
inline void AddBlocks(const RowChunk& chunk, const float* x, const uint8_t* w, int64_t panel_bytes,
                      int64_t length, const F32x16* scales, float* totals) {
  for (int64_t block = 0; block < chunk.blocks; ++block) {
    const int64_t rows = chunk.BlockRows(block);
    SegmentTileOf<Elements, kPanels, kMostRows>(rows, x, w, panel_bytes, length, scales, totals);
    x += rows * length;
    totals += rows * kPanels * kPanelColumns;
  }
}

// kPanels panels from `panel` on, one scale block after the other.
template <typename Elements, int kPanels>
class PanelReader {
 public:
  PanelReader(const PanelProduct& g, int64_t panel)
      : w_(g.panels + panel * g.panel_bytes), panel_bytes_(g.panel_bytes) {}

  template <int kMostRows>
  void AddSegment(const RowChunk& chunk, const float* x, int64_t length, const F32x16* scales,
                  float* totals) {
    AddBlocks<Elements, kPanels, kMostRows>(chunk, x, w_, panel_bytes_, length, scales, totals);
    w_ += length / Elements::kSteps * Elements::kBytes;
  }

 private:
  const uint8_t* w_;
  const int64_t panel_bytes_;
};

// sum += the steps of k in half a vector of compact elements.
__attribute__((always_inline)) inline void AddSteps(const float* x, Bytes half, F32x16* sum) {
  *sum = MultiplyAdd(Set(x[0]), WidenStep<0>(half), *sum);
  if constexpr (kVectorSteps > 2) *sum = MultiplyAdd(Set(x[1]), WidenStep<1>(half), *sum);
}

// sum[panel] += what a unit of each panel gives.
template <int kPanels, int kVector = 0, int kPanel = 0>
__attribute__((always_inline)) inline void AddUnits(const float* x, CompactElements* w,
                                                    F32x16* sum) {
  const TwoVectors halves = NextCompact(w[kPanel], kVector);
  AddSteps(x, halves.first, sum + kPanel);
  AddSteps(x + kVectorSteps / 2, halves.second, sum + kPanel);
  if constexpr (kPanel + 1 < kPanels) {
    AddUnits<kPanels, kVector, kPanel + 1>(x, w, sum);
  } else if constexpr (kVector + 1 < kCompactVectors) {
    AddUnits<kPanels, kVector + 1>(x + kVectorSteps, w, sum);
  }
}

// As SegmentTile, for one row and compact panels.
template <int kPanels>
__attribute__((noinline)) void CompactTile(const float* x, CompactElements* panels, int64_t length,
                                           const F32x16* scales, float* totals) {
  CompactElements w[kPanels];
  F32x16 sum[kPanels];
#pragma GCC unroll 8
  for (int c = 0; c < kPanels; ++c) {
    w[c] = panels[c];
    sum[c] = Zero();
  }
  for (int64_t k = 0; k < length; k += kCompactSteps) AddUnits<kPanels>(x + k, w, sum);
#pragma GCC unroll 8
  for (int c = 0; c < kPanels; ++c) {
    panels[c] = w[c];
    float* total = totals + c * kPanelColumns;
    Store(total, MultiplyAdd(sum[c], scales[c], Load(total)));
  }
}

// Compact panels: one row multiplies in registers what it takes apart; for several rows a scale
// block is first put down as the other layout has it.
template <int kPanels>
class PanelReader<CompactColumns, kPanels> {
 public:
  PanelReader(const PanelProduct& g, int64_t panel) {
    for (int64_t c = 0; c < kPanels; ++c) {
      w_[c] = BeginCompact(g, g.panels + (panel + c) * g.panel_bytes);
    }
  }

  template <int kMostRows>
  void AddSegment(const RowChunk& chunk, const float* x, int64_t length, const F32x16* scales,
                  float* totals) {
    if constexpr (kMostRows == 1) {
      CompactTile<kPanels>(x, w_, length, scales, totals);
    } else {
      alignas(64) uint8_t widened[kPanels * kCompactSegment * BFloat16Elements::kBytes];
      const int64_t bytes = length * BFloat16Elements::kBytes;
      for (int c = 0; c < kPanels; ++c) Widen(w_[c], length, widened + c * bytes);
      AddBlocks<BFloat16Elements, kPanels, kMostRows>(chunk, x, widened, bytes, length, scales,
                                                      totals);
    }
  }

 private:
  static void Widen(CompactElements& from, int64_t length, uint8_t* to) {
    for (int64_t k = 0; k < length; k += kCompactSteps) {
#pragma GCC unroll 4
      for (int vector = 0; vector < kCompactVectors; ++vector) {
        const TwoVectors halves = NextCompact(from, vector);
        StoreBytes(to, halves.first);
        StoreBytes(to + kVectorBytes, halves.second);
        to += 2 * kVectorBytes;
      }
    }
  }

  CompactElements w_[kPanels];
};

// A chunk of packed rows times kPanels panels.
template <typename Elements, int kPanels, int kMostRows>
void ChunkPanels(const PanelProduct& g, const RowChunk& chunk, const float* packed, int64_t panel,
                 float* totals) {
  constexpr int64_t kTotals = kPanels * kPanelColumns;  // of one row
  for (int64_t i = 0; i < chunk.rows * kTotals; i += kPanelColumns) Store(totals + i, Zero());
  PanelReader<Elements, kPanels> reader(g, panel);
  for (int64_t segment = 0; segment < g.num_segments; ++segment) {
    const int64_t length = g.segment_lengths[segment];
    F32x16 scales[kPanels];
    for (int c = 0; c < kPanels; ++c) {
      scales[c] = g.scales != nullptr ? ScaleOf(g, panel + c, segment) : Set(1.0f);
    }
    reader.template AddSegment<kMostRows>(chunk, packed, length, scales, totals);
    packed += chunk.rows * length;
  }
  for (int64_t row = 0; row < chunk.rows; ++row) {
    for (int c = 0; c < kPanels; ++c) {
      const float* total = totals + (row * kPanels + c) * kPanelColumns;
      StoreOut(g, chunk.first + row, panel + c, Load(total));
    }
  }
}

// A chunk of packed rows times all panels. One tall block is handled panel by panel; short blocks
// take several panels side by side.
template <typename Elements, int kRows = 1>
void ChunkProduct(const PanelProduct& g, const RowChunk& chunk, const float* packed,
                  float* totals) {
  if constexpr (kRows < kBlockRows) {
    if (chunk.BlockRows(0) > kRows) {
      return ChunkProduct<Elements, kRows + 1>(g, chunk, packed, totals);
    }
  }
  constexpr int kPanels = PanelsBeside(kRows);
  int64_t panel = 0;
  for (; panel + kPanels <= g.num_panels; panel += kPanels) {
    ChunkPanels<Elements, kPanels, kRows>(g, chunk, packed, panel, totals);
  }
  if constexpr (kPanels > 1) {
    for (; panel < g.num_panels; ++panel) {
      ChunkPanels<Elements, 1, kRows>(g, chunk, packed, panel, totals);
    }
  }
}

template <typename Elements>
void ColumnsProduct(const PanelProduct& g) {
  const int64_t padded_k = PaddedK(g);
  float* totals = g.scratch;
  float* packed = g.scratch + kProductTotals;
  constexpr int64_t kMostRows = kProductTotals / (PanelsBeside(kBlockRows) * kPanelColumns);
  int64_t most = kProductPackedRows / (padded_k > 0 ? padded_k : 1);
  most = most > kMostRows ? kMostRows : most;
  most = most > kBlockRows ? most / kBlockRows * kBlockRows : most;
  for (RowChunk chunk; chunk.first < g.rows; chunk.first += chunk.rows) {
    const int64_t rest = g.rows - chunk.first;
    const int64_t chunks = (rest + most - 1) / most;
    chunk.rows = (rest + chunks - 1) / chunks;
    chunk.blocks = (chunk.rows + kBlockRows - 1) / kBlockRows;
    g.x_bfloat16 ? PackRows<BFloat16Row>(g, chunk, Elements::kFactor, packed)
                 : PackRows<Float32Row>(g, chunk, Elements::kFactor, packed);
    ChunkProduct<Elements>(g, chunk, packed, totals);
  }
}

// Every columns layout; the pairs layouts are the caller's bug.
void ProductOfColumns(const PanelProduct& g) {
  switch (g.layout) {
    case PanelLayout::kColumnsFloat32:
      return ColumnsProduct<Float32Elements>(g);
    case PanelLayout::kColumnsBFloat16:
      return ColumnsProduct<BFloat16Elements>(g);
    case PanelLayout::kColumnsFloat8:
      return ColumnsProduct<Float8Elements>(g);
    case PanelLayout::kColumnsCompact:
      return ColumnsProduct<CompactColumns>(g);
    case PanelLayout::kPairsBFloat16:
    case PanelLayout::kPairsFloat8:
    case PanelLayout::kPairsCompact:
      break;
  }
  __builtin_trap();
}

}  // namespace
}  // namespace baton::kernels::cpu
