// Products with panels in the pairs layouts through vdpbf16ps: one instruction multiplies two steps
// of k for 16 columns. Needs AVX-512 BF16 and, for FP8, VBMI.
#pragma once

#include "kernels/cpu/variants/compact_elements.h"
#include "kernels/cpu/variants/product_columns.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
namespace baton::kernels::cpu {
namespace {

// Upper and lower bytes of the bfloat16 that each FP8 code without its sign stands for.
struct Float8Bytes {
  alignas(64) uint8_t high[128];
  alignas(64) uint8_t low[128];
};

constexpr Float8Bytes MakeFloat8Bytes() {
  Float8Bytes bytes = {};
  for (uint32_t code = 0; code < 128; ++code) {
    uint32_t bits = (code << 4) + (120u << 7);
    if (code == 0) {
      bits = 0;
    } else if (code < 8) {  // code x 2^-9, normalised
      uint32_t mantissa = code;
      uint32_t exponent = 121;
      while (mantissa < 8) {
        mantissa <<= 1;
        --exponent;
      }
      bits = exponent << 7 | (mantissa & 7u) << 4;
    } else if (code == 127) {
      bits = 0x7fc0;  // NaN
    }
    bytes.high[code] = static_cast<uint8_t>(bits >> 8);
    bytes.low[code] = static_cast<uint8_t>(bits);
  }
  return bytes;
}

constexpr Float8Bytes kFloat8Bytes = MakeFloat8Bytes();

struct PairVectors {
  __m512i even, odd;  // pairs of k 0, 1 and 2, 3 of a step of four
};

// Elements of a panel: a cursor at its begin, from which Next takes four steps of k; kTogether
// calls count their number up from 0. From kWidenedRows rows on, the first tile keeps what it has
// widened, and the others read that; 0: they never do.
struct Float8Pairs {
  using Cursor = const uint8_t*;
  static constexpr int kTogether = 1;
  static constexpr int64_t kWidenedRows = 32;
  static constexpr int64_t kStep = 64;  // bytes

  Float8Pairs()
      : high0(_mm512_load_si512(kFloat8Bytes.high)),
        high1(_mm512_load_si512(kFloat8Bytes.high + 64)),
        low0(_mm512_load_si512(kFloat8Bytes.low)),
        low1(_mm512_load_si512(kFloat8Bytes.low + 64)) {}

  static Cursor Begin(const PanelProduct&, const uint8_t* panel) { return panel; }
  PairVectors Next(Cursor& p, int) const {
    const __m512i codes = _mm512_loadu_si512(p);
    p += kStep;
    // The look-up reads bits 0 to 6 of each code: the sign does not disturb it.
    const __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
    const __m512i low = _mm512_permutex2var_epi8(low0, codes, low1);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i with_sign = _mm512_ternarylogic_epi64(high, codes, sign, 0xf8);  // a | (b & c)
    return {_mm512_unpacklo_epi8(low, with_sign), _mm512_unpackhi_epi8(low, with_sign)};
  }

  __m512i high0, high1, low0, low1;
};

struct BFloat16Pairs {
  using Cursor = const uint8_t*;
  static constexpr int kTogether = 1;
  static constexpr int64_t kWidenedRows = 0;
  static constexpr int64_t kStep = 128;

  static Cursor Begin(const PanelProduct&, const uint8_t* panel) { return panel; }
  PairVectors Next(Cursor& p, int) const {
    const PairVectors pairs = {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)};
    p += kStep;
    return pairs;
  }
};

struct CompactPairs {
  using Cursor = CompactElements;
  static constexpr int kTogether = kCompactVectors;
  static constexpr int64_t kWidenedRows = 24;

  static Cursor Begin(const PanelProduct& g, const uint8_t* panel) {
    return BeginCompact(g, panel);
  }
  PairVectors Next(Cursor& elements, int step) const {
    const TwoVectors pairs = NextCompact(elements, step);
    return {pairs.first.v, pairs.second.v};
  }
};
static_assert(kVectorSteps == 4);

inline __m512 DotPairs(__m512 sum, __m512i x, __m512i w) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
}

inline __m512i BroadcastPair(const uint16_t* x) {
  int32_t pair;  // rows may begin at any element
  __builtin_memcpy(&pair, x, sizeof(pair));
  return _mm512_set1_epi32(pair);
}

// Panels beside each other and where their elements begin.
struct PanelGroup {
  int64_t first;
  const uint8_t* elements;
  int64_t bytes;  // of one panel
};

// Of a panel as BFloat16Pairs reads it.
inline int64_t WidenedBytes(const PanelProduct& g) { return PaddedK(g) / 4 * BFloat16Pairs::kStep; }

// Rows [row, row + kRows) of the panels. kKeep: also puts the panels down, one after the other at
// `keep`, as BFloat16Pairs reads them.
template <typename Elements, int kRows, int kPanels, bool kKeep = false>
void PairsTile(const PanelProduct& g, int64_t row, const PanelGroup& group,
               uint8_t* keep = nullptr) {
  const Elements elements;
  const int64_t panel = group.first;
  const uint16_t* x[kRows];
  for (int r = 0; r < kRows; ++r) {
    x[r] = static_cast<const uint16_t*>(g.x) + SourceRow(g, row + r) * g.x_stride;
  }
  typename Elements::Cursor w[kPanels];
  for (int c = 0; c < kPanels; ++c) w[c] = elements.Begin(g, group.elements + c * group.bytes);
  uint8_t* kept[kPanels];
  for (int c = 0; c < kPanels; ++c) kept[c] = kKeep ? keep + c * WidenedBytes(g) : nullptr;
  __m512 total[kRows][kPanels];
  for (auto& row_totals : total) {
    for (__m512& value : row_totals) value = _mm512_setzero_ps();
  }
  for (int64_t segment = 0; segment < g.num_segments; ++segment) {
    const int64_t length = g.segment_lengths[segment];
    __m512 even[kRows][kPanels];
    __m512 odd[kRows][kPanels];
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kPanels; ++c) even[r][c] = odd[r][c] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < length; k += 4 * Elements::kTogether) {
#pragma GCC unroll 2
      for (int step = 0; step < Elements::kTogether; ++step) {
#pragma GCC unroll 4
        for (int c = 0; c < kPanels; ++c) {
          const PairVectors pairs = elements.Next(w[c], step);
          if constexpr (kKeep) {
            _mm512_storeu_si512(kept[c], pairs.even);
            _mm512_storeu_si512(kept[c] + 64, pairs.odd);
            kept[c] += BFloat16Pairs::kStep;
          }
#pragma GCC unroll 4
          for (int r = 0; r < kRows; ++r) {
            const uint16_t* from = x[r] + k + 4 * step;
            even[r][c] = DotPairs(even[r][c], BroadcastPair(from), pairs.even);
            odd[r][c] = DotPairs(odd[r][c], BroadcastPair(from + 2), pairs.odd);
          }
        }
      }
    }
    for (int c = 0; c < kPanels; ++c) {
      const F32x16 scale = g.scales != nullptr ? ScaleOf(g, panel + c, segment) : Set(1.0f);
      for (int r = 0; r < kRows; ++r) {
        total[r][c] = _mm512_fmadd_ps(_mm512_add_ps(even[r][c], odd[r][c]), scale.v, total[r][c]);
      }
    }
    for (int r = 0; r < kRows; ++r) x[r] += length;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kPanels; ++c) StoreOut(g, row + r, panel + c, {total[r][c]});
  }
}

// Rows from `row` on.
template <typename Elements, int kPanels>
void PairsRows(const PanelProduct& g, int64_t row, const PanelGroup& group) {
  for (; row + 4 <= g.rows; row += 4) PairsTile<Elements, 4, kPanels>(g, row, group);
  for (; row + 2 <= g.rows; row += 2) PairsTile<Elements, 2, kPanels>(g, row, group);
  if (row < g.rows) PairsTile<Elements, 1, kPanels>(g, row, group);
}

template <typename Elements, int kPanels>
void PairsGroup(const PanelProduct& g, int64_t panel) {
  const PanelGroup group = {panel, g.panels + panel * g.panel_bytes, g.panel_bytes};
  if constexpr (Elements::kWidenedRows > 0) {
    static_assert(Elements::kWidenedRows > 4);
    const bool fits = kPanels * WidenedBytes(g) <= kProductScratchFloats * 4;
    if (g.rows >= Elements::kWidenedRows && fits) {
      auto* keep = reinterpret_cast<uint8_t*>(g.scratch);
      PairsTile<Elements, 4, kPanels, true>(g, 0, group, keep);
      return PairsRows<BFloat16Pairs, kPanels>(g, 4, {panel, keep, WidenedBytes(g)});
    }
  }
  PairsRows<Elements, kPanels>(g, 0, group);
}

template <typename Elements>
void PairsProduct(const PanelProduct& g) {
  int64_t panel = 0;
  if (g.rows == 1) {
    for (; panel + 4 <= g.num_panels; panel += 4) {
      PairsTile<Elements, 1, 4>(g, 0, {panel, g.panels + panel * g.panel_bytes, g.panel_bytes});
    }
  }
  for (; panel + 2 <= g.num_panels; panel += 2) PairsGroup<Elements, 2>(g, panel);
  if (panel < g.num_panels) PairsGroup<Elements, 1>(g, panel);
}

void ProductOfPairs(const PanelProduct& g) {
  if (g.layout == PanelLayout::kPairsFloat8) return PairsProduct<Float8Pairs>(g);
  if (g.layout == PanelLayout::kPairsBFloat16) return PairsProduct<BFloat16Pairs>(g);
  if (g.layout == PanelLayout::kPairsCompact) return PairsProduct<CompactPairs>(g);
  ProductOfColumns(g);
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
