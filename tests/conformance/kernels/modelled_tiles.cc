#include "tests/conformance/kernels/modelled_tiles.h"

#if defined(__AVX512BF16__)
#include "kernels/cpu/variants/attend_pairs.h"
#include "kernels/cpu/variants/kernel_table.h"
#include "kernels/cpu/variants/product_tiles.h"

namespace baton::kernels {
namespace cpu {
namespace {

// Same interface as the hardware's tiles in amx_bf16.cc; rows beyond the configured ones hold
// garbage on purpose.
class ModelledTiles {
 public:
  void Configure(int64_t rows0, int64_t rows1) {
    rows_[0] = rows0;
    rows_[1] = rows1;
    configured_ = true;
  }
  void Release() { configured_ = false; }
  void ZeroSums() {
    if (!configured_) __builtin_trap();
    for (auto& tile : sums_) {
      for (auto& row : tile) {
        for (float& value : row) value = 0.0f;
      }
    }
  }
  void LoadInput0(TileSource s) { LoadTile(s, rows_[0], inputs_[0]); }
  void LoadInput1(TileSource s) { LoadTile(s, rows_[1], inputs_[1]); }
  void LoadWeight0(TileSource s) { LoadTile(s, kTileRows, weights_[0]); }
  void LoadWeight1(TileSource s) { LoadTile(s, kTileRows, weights_[1]); }
  void Dot00() { Dot(0, 0); }
  void Dot01() { Dot(0, 1); }
  void Dot10() { Dot(1, 0); }
  void Dot11() { Dot(1, 1); }
  void StoreSums(int tile, float* out) {
    for (int64_t r = 0; r < rows_[tile / 2]; ++r) {
      for (int64_t c = 0; c < kPanelColumns; ++c) out[r * kPanelColumns + c] = sums_[tile][r][c];
    }
  }

 private:
  using Tile = uint16_t[kTileRows][kTileSteps];

  static void LoadTile(TileSource s, int64_t rows, Tile& tile) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      const char* from = static_cast<const char*>(s.base) + r * s.stride_bytes;
      for (int64_t i = 0; i < kTileSteps; ++i) {
        tile[r][i] = r < rows ? reinterpret_cast<const uint16_t*>(from)[i] : 0x7fc0;
      }
    }
  }
  static float Value(uint16_t bits) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
  }
  void Dot(int t, int c) {
    for (int64_t r = 0; r < rows_[t]; ++r) {
      for (int64_t k = 0; k < kTileSteps; ++k) {
        for (int64_t column = 0; column < kPanelColumns; ++column) {
          const float w = Value(weights_[c][k / 2][2 * column + k % 2]);
          sums_[2 * t + c][r][column] += Value(inputs_[t][r][k]) * w;
        }
      }
    }
  }

  int64_t rows_[2] = {};
  bool configured_ = false;
  float sums_[4][kTileRows][kPanelColumns];
  Tile inputs_[2];
  Tile weights_[2];
};

void ModelledProduct(const PanelProduct& g) {
  if (!IsPairs(g.layout)) return ProductOfColumns(g);
  ModelledTiles tiles;
  ProductOfTiles(tiles, g);
}

constexpr VariantKernels MakeModelKernels() {
  VariantKernels table = MakeKernels("modelled_tiles");
  table.pairs = true;
  table.pair_step = kTileSteps;
  table.product = ModelledProduct;
  table.attend = AttendPairs;
  return table;
}

}  // namespace
}  // namespace cpu

const cpu::VariantKernels* ModelledTileKernels() {
  static constexpr cpu::VariantKernels kTable = cpu::MakeModelKernels();
  return &kTable;
}

}  // namespace baton::kernels
#else
namespace baton::kernels {
const cpu::VariantKernels* ModelledTileKernels() { return nullptr; }
}  // namespace baton::kernels
#endif
