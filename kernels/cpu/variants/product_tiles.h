// Products with panels in the pairs layouts through AMX tiles: 16 rows x 16 columns x 32 steps of k
// per instruction. `Tiles` is the hardware's register file, or a model of it in plain arrays, with
// which tests run this code on machines without AMX.
//
// Tiles: C 0..3 (row tile t, panel c: 2 t + c), A 4 + t, B 6 + c. A segment's length is a multiple
// of 32 here.
#pragma once

#include "kernels/cpu/variants/product_pairs.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
namespace baton::kernels::cpu {
namespace {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileBytes = 64;  // of one row
inline constexpr int64_t kTileSteps = 32;  // of k

struct alignas(64) TileBuffer {
  uint8_t bytes[kTileRows * kTileBytes];
};

// Where a tile's rows begin and how far apart they stand.
struct TileSource {
  const void* base;
  int64_t stride_bytes;
};

// Rows [row, row + count) of x from `k` on. Gathered rows are copied to `buffer` first.
inline TileSource InputTile(const PanelProduct& g, int64_t row, int64_t count, int64_t k,
                            TileBuffer* buffer) {
  const uint16_t* x = static_cast<const uint16_t*>(g.x);
  if (g.row_index == nullptr) return {x + row * g.x_stride + k, g.x_stride * 2};
  for (int64_t r = 0; r < count; ++r) {
    const uint16_t* from = x + g.row_index[row + r] * g.x_stride + k;
    _mm512_store_si512(buffer->bytes + r * kTileBytes, _mm512_loadu_si512(from));
  }
  return {buffer->bytes, kTileBytes};
}

// 32 steps of k from a panel's cursor on, widened to `buffer`.
template <typename Elements>
inline TileSource WidenTile(const Elements& elements, typename Elements::Cursor& cursor,
                            TileBuffer* buffer) {
  for (int64_t step = 0; step < kTileSteps / 4; ++step) {
    const PairVectors pairs = elements.Next(cursor, static_cast<int>(step % Elements::kTogether));
    _mm512_store_si512(buffer->bytes + step * 2 * kTileBytes, pairs.even);
    _mm512_store_si512(buffer->bytes + (step * 2 + 1) * kTileBytes, pairs.odd);
  }
  return {buffer->bytes, kTileBytes};
}
// bfloat16 are read where they are.
inline TileSource WidenTile(const BFloat16Pairs&, BFloat16Pairs::Cursor& cursor, TileBuffer*) {
  const TileSource tile = {cursor, kTileBytes};
  cursor += kTileSteps / 4 * BFloat16Pairs::kStep;
  return tile;
}

// Rows [row, row + rows0 + rows1) times panels [panel, panel + kPanels). rows1 > 0 only if kTall.
template <typename Elements, typename Tiles, bool kTall, int kPanels>
void TilesBlock(Tiles& tiles, const PanelProduct& g, int64_t row, int64_t rows0, int64_t rows1,
                int64_t panel) {
  const Elements elements;
  typename Elements::Cursor w[kPanels];
  for (int c = 0; c < kPanels; ++c)
    w[c] = elements.Begin(g, g.panels + (panel + c) * g.panel_bytes);
  alignas(64) float total[2][kPanels][kTileRows][kPanelColumns] = {};
  TileBuffer a[2];
  TileBuffer b[kPanels];
  alignas(64) float sums[kTileRows][kPanelColumns];
  int64_t k = 0;
  for (int64_t segment = 0; segment < g.num_segments; ++segment) {
    tiles.ZeroSums();
    const int64_t end = k + g.segment_lengths[segment];
    for (; k < end; k += kTileSteps) {
      tiles.LoadInput0(InputTile(g, row, rows0, k, &a[0]));
      if (kTall) tiles.LoadInput1(InputTile(g, row + rows0, rows1, k, &a[1]));
      tiles.LoadWeight0(WidenTile(elements, w[0], &b[0]));
      tiles.Dot00();
      if (kTall) tiles.Dot10();
      if (kPanels > 1) {
        tiles.LoadWeight1(WidenTile(elements, w[kPanels - 1], &b[kPanels - 1]));
        tiles.Dot01();
        if (kTall) tiles.Dot11();
      }
    }
    for (int t = 0; t < (kTall ? 2 : 1); ++t) {
      for (int c = 0; c < kPanels; ++c) {
        tiles.StoreSums(2 * t + c, &sums[0][0]);
        const F32x16 scale = g.scales != nullptr ? ScaleOf(g, panel + c, segment) : Set(1.0f);
        for (int64_t r = 0; r < (t == 0 ? rows0 : rows1); ++r) {
          float* sum = total[t][c][r];
          Store(sum, ExactFma(Load(sums[r]), scale, Load(sum)));
        }
      }
    }
  }
  for (int c = 0; c < kPanels; ++c) {
    for (int64_t r = 0; r < rows0; ++r) StoreOut(g, row + r, panel + c, Load(total[0][c][r]));
    for (int64_t r = 0; r < rows1; ++r) {
      StoreOut(g, row + rows0 + r, panel + c, Load(total[1][c][r]));
    }
  }
}

template <typename Elements, typename Tiles, bool kTall>
void TilesRows(Tiles& tiles, const PanelProduct& g, int64_t row, int64_t rows0, int64_t rows1) {
  tiles.Configure(rows0, rows1);
  int64_t panel = 0;
  for (; panel + 2 <= g.num_panels; panel += 2) {
    TilesBlock<Elements, Tiles, kTall, 2>(tiles, g, row, rows0, rows1, panel);
  }
  if (panel < g.num_panels) {
    TilesBlock<Elements, Tiles, kTall, 1>(tiles, g, row, rows0, rows1, panel);
  }
}

template <typename Elements, typename Tiles>
void TilesProduct(Tiles& tiles, const PanelProduct& g) {
  for (int64_t row = 0; row < g.rows;) {
    const int64_t rest = g.rows - row;
    const int64_t rows0 = rest < kTileRows ? rest : kTileRows;
    const int64_t rows1 = rest - rows0 < kTileRows ? rest - rows0 : kTileRows;
    if (rows1 > 0) {
      TilesRows<Elements, Tiles, true>(tiles, g, row, rows0, rows1);
    } else {
      TilesRows<Elements, Tiles, false>(tiles, g, row, rows0, 0);
    }
    row += rows0 + rows1;
  }
  tiles.Release();
}

inline bool IsPairs(PanelLayout layout) {
  return layout == PanelLayout::kPairsBFloat16 || layout == PanelLayout::kPairsFloat8 ||
         layout == PanelLayout::kPairsCompact;
}

// Every pairs layout; the columns layouts are the caller's bug.
template <typename Tiles>
void ProductOfTiles(Tiles& tiles, const PanelProduct& g) {
  if (g.layout == PanelLayout::kPairsFloat8) return TilesProduct<Float8Pairs>(tiles, g);
  if (g.layout == PanelLayout::kPairsCompact) return TilesProduct<CompactPairs>(tiles, g);
  TilesProduct<BFloat16Pairs>(tiles, g);
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
