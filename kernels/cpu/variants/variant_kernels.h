// What each instruction-set variant gives: inner loops on plain memory. Everything else of the CPU
// backend (packing, threads, order of work) is common to all variants and runs on any x86-64.
//
// Files of a variant are compiled with that variant's flags. They may therefore use nothing inline
// from other headers: the linker could keep their copy of it for callers on lesser machines. Plain
// structs and pointers cross this border.
#pragma once

#include <cstdint>

namespace baton::kernels::cpu {

// Columns of a weight that stand together in a panel; lanes of the widest vector.
inline constexpr int64_t kPanelColumns = 16;

// Element order inside a panel; k counts from 0 in each segment. Each panel holds its segments one
// after the other; segments are zero-padded to a multiple of the layout's k step.
//   kColumns*:  [k][16 columns]; the row kernels widen each element to float32. In variants that
//               interleave (VariantKernels::interleaved), columns c and c + 8 stand together, so
//               that shifts of 32-bit lanes take them apart into two vectors of eight:
//               bfloat16 [k][8 columns][2], FP8 [k / 2][8 columns][2][2 steps of k].
//   kPairsBFloat16: [k / 2][16 columns][2]: one vector is two steps of k for 16 columns.
//   kPairsFloat8:   [k / 4][4 lanes][2 pairs][4 columns][2]: a byte look-up and an interleave
//                   within 128-bit lanes turn 64 bytes into two vectors of kPairsBFloat16.
//   kColumnsCompact, kPairsCompact: the elements of kColumnsBFloat16 and kPairsBFloat16 in twelve
//                   bits each, without loss; drawn below.
enum class PanelLayout : int32_t {
  kColumnsFloat32,
  kColumnsBFloat16,
  kColumnsFloat8,
  kPairsBFloat16,
  kPairsFloat8,
  kColumnsCompact,
  kPairsCompact,
};

// A panel of a compact layout. The lower byte of an element (a bit of the exponent, the mantissa)
// stands there as it is; the upper one (sign, seven bits of the exponent) as a code of four bits,
// for weights have few exponents. The panel says which bytes its codes stand for, and which of its
// elements, the strays, have another.
//   16 bytes                the upper bytes that codes 0 to 15 stand for
//   1 byte                  0; 1: of too many strays, the panel stands elsewhere in the plain
//                           layout, and the rest of this place is zero
//   47 bytes                zero
//   a unit per eight steps of k, 128 elements:
//     128 bytes             lower bytes
//     64 bytes              codes: byte i holds those of elements i (lower half) and 64 + i
//   strays                  uint32, ascending: place << 8 | upper byte; then kNoStray up to the end
// Lower bytes stand in an order of their own, in which places count, too: of compact_vector (below)
// elements, sixteen bytes i are the elements 8 i to 8 i + 7 of the first half, then those of the
// second half. Interleaving lower and upper bytes within 128-bit lanes gives both halves.
inline constexpr int64_t kCompactHeader = 64;  // bytes
inline constexpr int64_t kCompactSteps = 8;    // of k in a unit
inline constexpr int64_t kCompactElements = kCompactSteps * kPanelColumns;
inline constexpr int64_t kCompactBytes = kCompactElements * 3 / 2;
inline constexpr int64_t kCompactSegment = 128;  // the longest, of k
inline constexpr uint32_t kNoStray = 0xffffffff;

enum class OutType : int32_t { kFloat32, kBFloat16 };

// Floats of working memory of a product. Columns layouts: totals of a chunk of rows, and the
// chunk's rows; the longest k is kProductPackedRows. Pairs layouts: panels that were widened.
inline constexpr int64_t kProductTotals = 8 * 1024;
inline constexpr int64_t kProductPackedRows = 384 * 1024;
inline constexpr int64_t kProductScratchFloats = kProductTotals + kProductPackedRows;

// out[r][c] = sum over segments s of scale(s, c) * sum over k of x[r][k] * W[c][k], for
// `num_panels` panels. Within a segment the columns layouts and AMX tiles have one sum in order of
// k, vdpbf16ps one each for even and odd pairs of k, added at its end: whatever the tile, an
// element's order of summation is the same.
struct PanelProduct {
  PanelLayout layout;
  OutType out_type;
  // Columns layouts: rows of float32 or bfloat16 (x_bfloat16) as they are. Pairs layouts: bfloat16,
  // segments padded as the panels'. Row r of the product is row row_index[r], or r if row_index is
  // null.
  const void* x;
  bool x_bfloat16;
  int64_t x_stride;  // elements
  const int32_t* row_index;
  int64_t rows;
  const uint8_t* panels;
  int64_t panel_bytes;
  int64_t stray_offset;  // compact layouts: bytes from a panel's begin to its strays
  int64_t num_panels;
  const int32_t* segment_sizes;    // of k
  const int32_t* segment_lengths;  // padded
  int64_t num_segments;
  // Per panel and segment: one factor, or 16 of them if lane_scales; null: 1.
  const float* scales;
  bool lane_scales;
  void* out;
  int64_t out_stride;   // elements
  int64_t out_columns;  // valid columns of all panels together; the last panel may be cut
  float* scratch;       // kProductScratchFloats, this call's alone
};

// Attention of queries of one sequence, [key | ...] and values in rows of pages: heads of one or of
// neighbouring rows.
struct AttendArgs {
  bool bfloat16;           // type of q, pages and out; float32 otherwise
  const void* q;           // [queries][q_stride], zero-padded to a multiple of 32
  int64_t q_stride;        // elements
  const int32_t* lengths;  // [queries] positions that each sees, ascending, at least 1
  int64_t num_queries;     // 1 to kMaxAttendQueries
  const void* pages;
  int64_t page_stride;   // elements between tokens
  int64_t width;         // of a query and of a key, which begins a token's row
  int64_t value_column;  // of a token's row, where its values begin
  int64_t value_dims;
  const int32_t* blocks;
  float scale;
  float* scratch;    // AttendScratchFloats(value_dims, q_stride)
  void* const* out;  // [queries] where each query's value_dims elements go
  // Null, or what one split leaves for the next: [queries][AttendStateFloats(value_dims)]. Lengths
  // then count from the split's first position, and are kSplitTokens at most.
  float* state;
  bool first_split;  // nothing stands in `state` yet
  bool last_split;   // `out` is written, and `state` is done with
};
inline constexpr int64_t kMaxAttendQueries = 32;
inline constexpr int64_t kScoreRows = 16;  // positions scored together
inline constexpr int64_t kSplitTokens = 512;
constexpr int64_t AttendScratchFloats(int64_t value_dims, int64_t q_stride) {
  return kMaxAttendQueries * (q_stride + 2 * kSplitTokens + 2 * (value_dims + kPanelColumns)) +
         kScoreRows * q_stride;
}
// Sums, then the largest score and the total of weights.
constexpr int64_t AttendStateSums(int64_t value_dims) {
  return (value_dims + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
}
constexpr int64_t AttendStateFloats(int64_t value_dims) {
  return AttendStateSums(value_dims) + kPanelColumns;
}

struct NormArgs {
  bool bfloat16;       // type of x / residual and out
  void* x;             // row; written if delta is given
  const float* delta;  // null: none
  const float* weight;
  float epsilon;
  int64_t width;
  void* out;
};

struct RowExtremes {
  float largest;
  uint32_t index;  // lowest of the largest
  bool finite;     // all of the row
  bool moderate;   // all magnitudes below kLargestLogit
};

struct DrawResult {
  float score;
  uint32_t index;
};

struct VariantKernels {
  const char* name;
  bool pairs;           // bfloat16 products use the pairs layouts
  int64_t pair_step;    // k step of the pairs layouts
  bool interleaved;     // columns layouts of bfloat16 and FP8 interleave columns c and c + 8
  int64_t float8_step;  // k step of kColumnsFloat8
  // What scales of kColumnsFloat8 are multiplied by, because widened codes (and x, when it is
  // copied) stand for their values times a power of two.
  float float8_unit;
  int64_t compact_vector;  // elements that the compact layouts take at a time: 32 or 64
  // Weights of so many bfloat16 and more are packed in a compact layout, if k is a multiple of its
  // units: where that pays.
  int64_t compact_from;

  void (*product)(const PanelProduct& args);
  void (*norm)(const NormArgs& args);
  // out = x + delta; types as NormArgs.
  void (*add)(bool bfloat16, const void* x, const float* delta, int64_t width, void* out);
  // out = silu(gate) * up, rounded to bfloat16 if `round`; stored as bfloat16 if `narrow`.
  void (*silu_multiply)(const float* gate, const float* up, int64_t width, bool round, bool narrow,
                        void* out);
  // bfloat16 to float32.
  void (*widen)(const uint16_t* in, int64_t width, float* out);
  // sum = (first ? 0 : sum) + weight * y.
  void (*accumulate)(float weight, const float* y, int64_t width, bool first, float* sum);
  void (*attend)(const AttendArgs& args);

  // Draws; arithmetic of kernels/api/reproducible_math.h.
  RowExtremes (*extremes)(const float* values, int64_t size);
  // out = values / temperature - largest / temperature.
  void (*scale_row)(const float* values, int64_t size, float temperature, float largest,
                    float* out);
  // Sum of SoftmaxMass(values - largest).
  uint64_t (*mass)(const float* values, int64_t size, float largest);
  // out[i] = ExpNonPositive(values[i]) * kMassOne: truncated to an integer, SoftmaxMass(values[i]).
  void (*masses)(const float* values, int64_t size, float* out);
  // Index of the first element above `bound` from `begin` on; `size` if none.
  int64_t (*find_above)(const float* values, int64_t begin, int64_t size, float bound);
  // Largest values[i] + GumbelNoise(seed, position, i), lowest index among equals.
  DrawResult (*draw)(const float* values, int64_t size, uint64_t seed, uint32_t position);
  // out[i] = Sigmoid(values[i]).
  void (*sigmoid)(const float* values, int64_t size, float* out);
};

// Null if this build has no code for the variant (another architecture).
const VariantKernels* PortableKernels();
const VariantKernels* Avx2Kernels();
const VariantKernels* Avx512Kernels();
const VariantKernels* Avx512Bf16Kernels();
const VariantKernels* AmxBf16Kernels();

}  // namespace baton::kernels::cpu
