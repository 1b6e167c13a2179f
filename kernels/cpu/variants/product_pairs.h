// Products with panels in the pairs layouts through vdpbf16ps: one instruction multiplies two steps
// of k for 16 columns. Needs AVX-512 BF16 and, for FP8, VBMI.
#pragma once

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

struct Float8Pairs {
  static constexpr bool kFloat8 = true;
  static constexpr int64_t kStep = 64;  // bytes of four steps of k

  Float8Pairs()
      : high0(_mm512_load_si512(kFloat8Bytes.high)),
        high1(_mm512_load_si512(kFloat8Bytes.high + 64)),
        low0(_mm512_load_si512(kFloat8Bytes.low)),
        low1(_mm512_load_si512(kFloat8Bytes.low + 64)) {}

  PairVectors At(const uint8_t* p) const {
    const __m512i codes = _mm512_loadu_si512(p);
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
  static constexpr bool kFloat8 = false;
  static constexpr int64_t kStep = 128;

  PairVectors At(const uint8_t* p) const {
    return {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)};
  }
};

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

template <typename Elements, int kRows, int kPanels>
void PairsTile(const PanelProduct& g, int64_t row, const PanelGroup& group) {
  const Elements elements;
  const int64_t panel = group.first;
  const uint16_t* x[kRows];
  for (int r = 0; r < kRows; ++r) {
    x[r] = static_cast<const uint16_t*>(g.x) + SourceRow(g, row + r) * g.x_stride;
  }
  const uint8_t* w[kPanels];
  for (int c = 0; c < kPanels; ++c) w[c] = group.elements + c * group.bytes;
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
    for (int64_t k = 0; k < length; k += 4) {
#pragma GCC unroll 4
      for (int c = 0; c < kPanels; ++c) {
        const PairVectors pairs = elements.At(w[c]);
        w[c] += Elements::kStep;
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          even[r][c] = DotPairs(even[r][c], BroadcastPair(x[r] + k), pairs.even);
          odd[r][c] = DotPairs(odd[r][c], BroadcastPair(x[r] + k + 2), pairs.odd);
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

template <typename Elements, int kPanels>
void PairsRows(const PanelProduct& g, const PanelGroup& group) {
  int64_t row = 0;
  for (; row + 4 <= g.rows; row += 4) PairsTile<Elements, 4, kPanels>(g, row, group);
  for (; row + 2 <= g.rows; row += 2) PairsTile<Elements, 2, kPanels>(g, row, group);
  if (row < g.rows) PairsTile<Elements, 1, kPanels>(g, row, group);
}

// From so many rows on, FP8 is widened once for all of them rather than in each tile.
inline constexpr int64_t kWidenedRows = 32;

// The panels of a group as BFloat16Pairs reads them, in `to`.
template <int kPanels>
PanelGroup WidenPanels(const PanelGroup& group, uint8_t* to) {
  const Float8Pairs elements;
  const PanelGroup widened = {group.first, to, 2 * group.bytes};
  const uint8_t* end = group.elements + kPanels * group.bytes;
  for (const uint8_t* from = group.elements; from < end; from += Float8Pairs::kStep) {
    const PairVectors pairs = elements.At(from);
    _mm512_storeu_si512(to, pairs.even);
    _mm512_storeu_si512(to + 64, pairs.odd);
    to += BFloat16Pairs::kStep;
  }
  return widened;
}

template <typename Elements, int kPanels>
void PairsGroup(const PanelProduct& g, int64_t panel) {
  const PanelGroup group = {panel, g.panels + panel * g.panel_bytes, g.panel_bytes};
  if constexpr (Elements::kFloat8) {
    const bool fits = 2 * kPanels * g.panel_bytes <= kProductScratchFloats * 4;
    if (g.rows >= kWidenedRows && fits) {
      auto* to = reinterpret_cast<uint8_t*>(g.scratch);
      return PairsRows<BFloat16Pairs, kPanels>(g, WidenPanels<kPanels>(group, to));
    }
  }
  PairsRows<Elements, kPanels>(g, group);
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
  ProductOfColumns(g);
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
