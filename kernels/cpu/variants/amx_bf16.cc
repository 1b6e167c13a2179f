// AMX BF16 for products in bfloat16, AVX-512 BF16 for the rest.
#include "kernels/cpu/variants/variant_kernels.h"

#if defined(__AMX_BF16__)
#include "kernels/cpu/variants/attend_pairs.h"
#include "kernels/cpu/variants/kernel_table.h"
#include "kernels/cpu/variants/product_tiles.h"

namespace baton::kernels::cpu {
namespace {

// The operand of ldtilecfg.
struct alignas(64) TileShapes {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileShapes) == 64);

class HardwareTiles {
 public:
  void Configure(int64_t rows0, int64_t rows1) {
    TileShapes shapes = {};
    shapes.palette = 1;
    const int64_t rows[8] = {rows0, rows0, rows1, rows1, rows0, rows1, kTileRows, kTileRows};
    for (int tile = 0; tile < 8; ++tile) {
      shapes.rows[tile] = static_cast<uint8_t>(rows[tile]);
      shapes.row_bytes[tile] = rows[tile] == 0 ? 0 : kTileBytes;
    }
    tall_ = rows1 > 0;
    // The intrinsic names only 8 bytes as its operand; without this gcc drops the other stores.
    asm volatile("" ::: "memory");
    _tile_loadconfig(&shapes);
  }
  void Release() { _tile_release(); }
  void ZeroSums() {
    _tile_zero(0);
    _tile_zero(1);
    if (!tall_) return;
    _tile_zero(2);
    _tile_zero(3);
  }
  void LoadInput0(TileSource s) { _tile_loadd(4, s.base, s.stride_bytes); }
  void LoadInput1(TileSource s) { _tile_loadd(5, s.base, s.stride_bytes); }
  void LoadWeight0(TileSource s) { _tile_loadd(6, s.base, s.stride_bytes); }
  void LoadWeight1(TileSource s) { _tile_loadd(7, s.base, s.stride_bytes); }
  void Dot00() { _tile_dpbf16ps(0, 4, 6); }
  void Dot01() { _tile_dpbf16ps(1, 4, 7); }
  void Dot10() { _tile_dpbf16ps(2, 5, 6); }
  void Dot11() { _tile_dpbf16ps(3, 5, 7); }
  void StoreSums(int tile, float* out) {
    switch (tile) {
      case 0:
        _tile_stored(0, out, kTileBytes);
        break;
      case 1:
        _tile_stored(1, out, kTileBytes);
        break;
      case 2:
        _tile_stored(2, out, kTileBytes);
        break;
      default:
        _tile_stored(3, out, kTileBytes);
        break;
    }
    asm volatile("" ::: "memory");
  }

 private:
  bool tall_ = false;
};

void Product(const PanelProduct& g) {
  if (!IsPairs(g.layout)) return ProductOfColumns(g);
  HardwareTiles tiles;
  ProductOfTiles(tiles, g);
}

constexpr VariantKernels MakeTileKernels() {
  VariantKernels table = MakeKernels("amx_bf16");
  table.pairs = true;
  table.pair_step = kTileSteps;
  table.product = Product;
  table.attend = AttendPairs;
  return table;
}

}  // namespace

const VariantKernels* AmxBf16Kernels() {
  static constexpr VariantKernels kTable = MakeTileKernels();
  return &kTable;
}

}  // namespace baton::kernels::cpu
#else
namespace baton::kernels::cpu {
const VariantKernels* AmxBf16Kernels() { return nullptr; }
}  // namespace baton::kernels::cpu
#endif
