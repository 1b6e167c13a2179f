// Products with panels in the columns layouts: elements widened to float32, one vector of 16
// columns per step of k.
#pragma once

#include "kernels/cpu/variants/simd.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

struct Float32Elements {
  static constexpr int64_t kStep = 64;  // bytes of one step of k
  static F32x16 At(const uint8_t* p) { return Load(reinterpret_cast<const float*>(p)); }
};
struct BFloat16Elements {
  static constexpr int64_t kStep = 32;
  static F32x16 At(const uint8_t* p) { return LoadBf16(reinterpret_cast<const uint16_t*>(p)); }
};
struct Float8Elements {
  static constexpr int64_t kStep = 16;
  static F32x16 At(const uint8_t* p) { return LoadFp8(p); }
};

inline int64_t SourceRow(const PanelProduct& g, int64_t row) {
  return g.row_index != nullptr ? g.row_index[row] : row;
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

// kRows rows times kPanels panels.
template <typename Elements, int kRows, int kPanels>
void ColumnsTile(const PanelProduct& g, int64_t row, int64_t panel) {
  const float* x[kRows];
  for (int r = 0; r < kRows; ++r) {
    x[r] = static_cast<const float*>(g.x) + SourceRow(g, row + r) * g.x_stride;
  }
  const uint8_t* w[kPanels];
  for (int c = 0; c < kPanels; ++c) w[c] = g.panels + (panel + c) * g.panel_bytes;
  F32x16 total[kRows][kPanels];
  for (auto& row_totals : total) {
    for (F32x16& value : row_totals) value = Zero();
  }
  for (int64_t segment = 0; segment < g.num_segments; ++segment) {
    const int64_t length = g.segment_lengths[segment];
    F32x16 even[kRows][kPanels];
    F32x16 odd[kRows][kPanels];
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kPanels; ++c) even[r][c] = odd[r][c] = Zero();
    }
    int64_t k = 0;
    for (; k + 2 <= length; k += 2) {
#pragma GCC unroll 4
      for (int c = 0; c < kPanels; ++c) {
        const F32x16 w0 = Elements::At(w[c]);
        const F32x16 w1 = Elements::At(w[c] + Elements::kStep);
        w[c] += 2 * Elements::kStep;
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          even[r][c] = MultiplyAdd(Set(x[r][k]), w0, even[r][c]);
          odd[r][c] = MultiplyAdd(Set(x[r][k + 1]), w1, odd[r][c]);
        }
      }
    }
    if (k < length) {
      for (int c = 0; c < kPanels; ++c) {
        const F32x16 w0 = Elements::At(w[c]);
        w[c] += Elements::kStep;
        for (int r = 0; r < kRows; ++r) {
          even[r][c] = MultiplyAdd(Set(x[r][k]), w0, even[r][c]);
        }
      }
    }
    for (int c = 0; c < kPanels; ++c) {
      const F32x16 scale = g.scales != nullptr ? ScaleOf(g, panel + c, segment) : Set(1.0f);
      for (int r = 0; r < kRows; ++r) {
        total[r][c] = MultiplyAdd(even[r][c] + odd[r][c], scale, total[r][c]);
      }
    }
    for (int r = 0; r < kRows; ++r) x[r] += length;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kPanels; ++c) StoreOut(g, row + r, panel + c, total[r][c]);
  }
}

// Tiles that fit the registers: accumulators are 2 x rows x panels vectors of 16 lanes.
#if defined(__AVX512F__)
inline constexpr int kTallTile = 6;
inline constexpr int kWideTile = 4;
inline constexpr int kTilePanels = 2;
#else
inline constexpr int kTallTile = 3;
inline constexpr int kWideTile = 2;
inline constexpr int kTilePanels = 1;
#endif

template <typename Elements, int kPanels>
void ColumnsRows(const PanelProduct& g, int64_t panel) {
  int64_t row = 0;
  for (; row + kTallTile <= g.rows; row += kTallTile) {
    ColumnsTile<Elements, kTallTile, kPanels>(g, row, panel);
  }
  for (; row + 2 <= g.rows; row += 2) ColumnsTile<Elements, 2, kPanels>(g, row, panel);
  if (row < g.rows) ColumnsTile<Elements, 1, kPanels>(g, row, panel);
}

template <typename Elements>
void ColumnsProduct(const PanelProduct& g) {
  int64_t panel = 0;
  if (g.rows == 1) {
    for (; panel + kWideTile <= g.num_panels; panel += kWideTile) {
      ColumnsTile<Elements, 1, kWideTile>(g, 0, panel);
    }
  }
  for (; panel + kTilePanels <= g.num_panels; panel += kTilePanels) {
    ColumnsRows<Elements, kTilePanels>(g, panel);
  }
  for (; panel < g.num_panels; ++panel) ColumnsRows<Elements, 1>(g, panel);
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
    case PanelLayout::kPairsBFloat16:
    case PanelLayout::kPairsFloat8:
      break;
  }
  __builtin_trap();
}

}  // namespace
}  // namespace baton::kernels::cpu
