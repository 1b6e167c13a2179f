#include "kernels/cpu/panel_weight.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "common/tensor/aligned_buffer.h"

namespace baton::kernels::cpu {
namespace {

VariantKernels Columns() {
  VariantKernels kernels = *PortableKernels();
  return kernels;
}

// Only what packing asks for.
VariantKernels Pairs(int64_t step) {
  VariantKernels kernels = *PortableKernels();
  kernels.pairs = true;
  kernels.pair_step = step;
  return kernels;
}

class PanelWeightTest : public ::testing::Test {
 protected:
  // FP8 codes of row i, column j: (i * 16 + j) % 100.
  WeightMatrix MakeFloat8(int64_t n, int64_t k, int64_t row_offset, int64_t column_offset) {
    codes_.resize(n * k);
    for (int64_t i = 0; i < n * k; ++i) {
      codes_[i].bits = static_cast<uint8_t>((i / k * 16 + i % k) % 100);
    }
    const int64_t rows = (row_offset + n + 127) / 128;
    const int64_t columns = (column_offset + k + 127) / 128;
    scales_.resize(rows * columns);
    for (size_t i = 0; i < scales_.size(); ++i) scales_[i] = static_cast<float>(i + 1);
    return {View(codes_.data(), n, k), View(scales_.data(), rows, columns), 128, row_offset,
            column_offset};
  }

  static PanelProduct Describe(const PanelWeight& weight) {
    PanelProduct product = {};
    weight.Describe(0, weight.num_panels(), &product);
    return product;
  }

  WorkerPool pool_{1};
  WeightArena arena_;
  std::vector<Float8E4M3> codes_;
  std::vector<float> scales_;
};

TEST_F(PanelWeightTest, CutsSegmentsAtScaleBlockEdges) {
  const PanelWeight weight(MakeFloat8(16, 200, 0, 100), DataType::kFloat32, Columns(), pool_,
                           arena_);
  EXPECT_EQ(weight.segments().lengths, (std::vector<int32_t>{28, 128, 44}));
  EXPECT_TRUE(weight.segments().natural);
  EXPECT_EQ(weight.row_form().segments, nullptr);
}

TEST_F(PanelWeightTest, PadsSegmentsToTheStepOfPairs) {
  const PanelWeight weight(MakeFloat8(16, 200, 0, 101), DataType::kBFloat16, Pairs(32), pool_,
                           arena_);
  EXPECT_EQ(weight.segments().lengths, (std::vector<int32_t>{27, 128, 45}));
  EXPECT_EQ(weight.segments().padded, (std::vector<int32_t>{32, 128, 64}));
  EXPECT_EQ(weight.segments().padded_k, 224);
  EXPECT_FALSE(weight.segments().natural);
  EXPECT_EQ(weight.row_form().segments, &weight.segments());
}

TEST_F(PanelWeightTest, PutsColumnsOfAPanelSideBySide) {
  const PanelWeight weight(MakeFloat8(20, 3, 0, 0), DataType::kFloat32, Columns(), pool_, arena_);
  const PanelProduct product = Describe(weight);
  EXPECT_EQ(product.layout, PanelLayout::kColumnsFloat8);
  EXPECT_EQ(product.num_panels, 2);
  EXPECT_EQ(product.out_columns, 20);
  for (int64_t k = 0; k < 3; ++k) {
    for (int64_t n = 0; n < 20; ++n) {
      const uint8_t* panel = product.panels + n / 16 * product.panel_bytes;
      EXPECT_EQ(panel[k * 16 + n % 16], codes_[n * 3 + k].bits);
    }
  }
}

TEST_F(PanelWeightTest, InterleavesColumnsEightApartWhereTheVariantWantsIt) {
  VariantKernels kernels = Columns();
  kernels.interleaved = true;
  kernels.float8_step = 2;
  const PanelWeight weight(MakeFloat8(16, 3, 0, 0), DataType::kFloat32, kernels, pool_, arena_);
  EXPECT_EQ(weight.segments().padded, (std::vector<int32_t>{4}));
  const PanelProduct product = Describe(weight);
  for (int64_t k = 0; k < 4; ++k) {
    for (int64_t n = 0; n < 16; ++n) {
      // Byte order: pairs of k, eight columns, the column and the one eight further, k in the pair.
      const int64_t place = k / 2 * 32 + n % 8 * 4 + n / 8 * 2 + k % 2;
      const uint8_t expected = k < 3 ? codes_[n * 3 + k].bits : 0;
      EXPECT_EQ(product.panels[place], expected) << k << ", " << n;
    }
  }
}

TEST_F(PanelWeightTest, InterleavesPairsOfFloat8AsTheLookUpNeedsThem) {
  const PanelWeight weight(MakeFloat8(16, 8, 0, 0), DataType::kBFloat16, Pairs(4), pool_, arena_);
  const PanelProduct product = Describe(weight);
  EXPECT_EQ(product.layout, PanelLayout::kPairsFloat8);
  for (int64_t k = 0; k < 8; ++k) {
    for (int64_t n = 0; n < 16; ++n) {
      // Byte order: groups of 4 k, lanes of 4 columns, pairs of k, columns, k within the pair.
      const int64_t place = k / 4 * 64 + n / 4 * 16 + k % 4 / 2 * 8 + n % 4 * 2 + k % 2;
      EXPECT_EQ(product.panels[place], codes_[n * 8 + k].bits) << k << ", " << n;
    }
  }
}

// Where the layout's description has element (k of a segment, column of a panel).
int64_t PlaceOf(PanelLayout layout, bool interleaved, int64_t k, int64_t n) {
  if (layout == PanelLayout::kPairsBFloat16) return k / 2 * 32 + n * 2 + k % 2;
  if (layout == PanelLayout::kPairsFloat8) {
    return k / 4 * 64 + n / 4 * 16 + k % 4 / 2 * 8 + n % 4 * 2 + k % 2;
  }
  if (!interleaved) return k * 16 + n;
  if (layout == PanelLayout::kColumnsBFloat16) return k * 16 + n % 8 * 2 + n / 8;
  return k / 2 * 32 + n % 8 * 4 + n / 8 * 2 + k % 2;
}

template <typename Element>
void ExpectPlaces(const PanelWeight& weight, const PanelProduct& product, bool interleaved,
                  const std::vector<Element>& values) {
  const Segments& segments = weight.segments();
  int64_t k0 = 0;
  int64_t padded0 = 0;
  for (size_t s = 0; s < segments.lengths.size(); ++s) {
    for (int64_t k = 0; k < segments.padded[s]; ++k) {
      for (int64_t n = 0; n < weight.num_panels() * 16; ++n) {
        const auto* panel =
            reinterpret_cast<const Element*>(product.panels + n / 16 * product.panel_bytes);
        const int64_t place = padded0 * 16 + PlaceOf(product.layout, interleaved, k, n % 16);
        const bool inside = k < segments.lengths[s] && n < weight.n();
        const Element expected = inside ? values[n * weight.k() + k0 + k] : Element{};
        ASSERT_EQ(panel[place].bits, expected.bits) << "k " << k0 + k << ", column " << n;
      }
    }
    k0 += segments.lengths[s];
    padded0 += segments.padded[s];
  }
}

TEST_F(PanelWeightTest, PlacesEveryElementInEveryLayout) {
  VariantKernels interleaved = Columns();
  interleaved.interleaved = true;
  interleaved.float8_step = 2;
  const VariantKernels variants[] = {Columns(), interleaved, Pairs(4), Pairs(32)};
  // Whole panels and a cut one; segments of whole vectors, of vectors and a rest, and of a rest.
  for (const auto& [k, offset] :
       {std::pair<int64_t, int64_t>{256, 0}, {300, 0}, {283, 101}, {7, 0}}) {
    const int64_t n = 53;
    const WeightMatrix float8 = MakeFloat8(n, k, 0, offset);
    std::vector<BFloat16> values(n * k);
    for (int64_t i = 0; i < n * k; ++i) values[i].bits = static_cast<uint16_t>(i * 7 % 30'000);
    const WeightMatrix bfloat16 = {.values = View(values.data(), n, k)};
    for (const VariantKernels& kernels : variants) {
      const PanelWeight narrow(float8, DataType::kBFloat16, kernels, pool_, arena_);
      ExpectPlaces(narrow, Describe(narrow), kernels.interleaved, codes_);
      const PanelWeight wide(bfloat16, DataType::kBFloat16, kernels, pool_, arena_);
      ExpectPlaces(wide, Describe(wide), kernels.interleaved, values);
    }
  }
}

TEST_F(PanelWeightTest, HasOneScalePerPanelUnlessABlockEdgeCutsOne) {
  const PanelWeight whole(MakeFloat8(144, 128, 0, 0), DataType::kBFloat16, Pairs(4), pool_, arena_);
  EXPECT_FALSE(Describe(whole).lane_scales);
  EXPECT_EQ(Describe(whole).scales[7], 1.0f);
  EXPECT_EQ(Describe(whole).scales[8], 2.0f);
  const PanelWeight cut(MakeFloat8(16, 128, 120, 0), DataType::kBFloat16, Pairs(4), pool_, arena_);
  const PanelProduct product = Describe(cut);
  EXPECT_TRUE(product.lane_scales);
  EXPECT_EQ(product.scales[7], 1.0f);
  EXPECT_EQ(product.scales[8], 2.0f);
}

TEST_F(PanelWeightTest, HoldsWeightsWithNanAsBFloat16UnderColumns) {
  const WeightMatrix matrix = MakeFloat8(16, 4, 0, 0);
  codes_[5].bits = 0xff;
  const PanelWeight columns(matrix, DataType::kFloat32, Columns(), pool_, arena_);
  EXPECT_EQ(columns.layout(), PanelLayout::kColumnsBFloat16);
  const PanelWeight pairs(matrix, DataType::kBFloat16, Pairs(4), pool_, arena_);
  EXPECT_EQ(pairs.layout(), PanelLayout::kPairsFloat8);
}

TEST_F(PanelWeightTest, FindsANanAnywhere) {
  for (const size_t place : {0u, 7u, 8u, 18u, 19u, 151u}) {
    for (const uint8_t code : {0x7f, 0xff}) {
      const WeightMatrix matrix = MakeFloat8(8, 19, 0, 0);
      codes_[place].bits = code;
      const PanelWeight columns(matrix, DataType::kFloat32, Columns(), pool_, arena_);
      EXPECT_EQ(columns.layout(), PanelLayout::kColumnsBFloat16) << place;
    }
  }
  const WeightMatrix matrix = MakeFloat8(8, 19, 0, 0);
  for (Float8E4M3& code : codes_) code.bits |= 0x80u;  // the largest: -98, no NaN
  const PanelWeight columns(matrix, DataType::kFloat32, Columns(), pool_, arena_);
  EXPECT_EQ(columns.layout(), PanelLayout::kColumnsFloat8);
}

TEST_F(PanelWeightTest, HoldsLargeWeightsOfBFloat16InACompactLayout) {
  VariantKernels columns = Columns();
  columns.compact_from = 20 * 64;
  VariantKernels pairs = Pairs(32);
  pairs.compact_from = 20 * 64;
  std::vector<BFloat16> values(20 * 72);
  const auto layout = [&](int64_t n, int64_t k, const VariantKernels& kernels) {
    const WeightMatrix matrix = {.values = View(values.data(), n, k)};
    return PanelWeight(matrix, DataType::kBFloat16, kernels, pool_, arena_).layout();
  };
  EXPECT_EQ(layout(20, 64, columns), PanelLayout::kColumnsCompact);
  EXPECT_EQ(layout(20, 64, pairs), PanelLayout::kPairsCompact);
  EXPECT_EQ(layout(20, 56, pairs), PanelLayout::kPairsBFloat16);  // small
  EXPECT_EQ(layout(20, 68, pairs), PanelLayout::kPairsBFloat16);  // cuts a unit
  // Of a band the whole weight counts.
  const WeightBand band = {View(values.data(), 16, 64), 0, 20};
  EXPECT_EQ(PanelWeight(band, DataType::kBFloat16, pairs, arena_).layout(),
            PanelLayout::kPairsCompact);
  const PanelWeight float8(MakeFloat8(32, 64, 0, 0), DataType::kBFloat16, pairs, pool_, arena_);
  EXPECT_EQ(float8.layout(), PanelLayout::kPairsFloat8);
}

TEST_F(PanelWeightTest, CutsRunsAtPanelsThatAreNotCompact) {
  VariantKernels kernels = Pairs(4);
  kernels.compact_from = 1;
  constexpr int64_t kPanels = 5;
  std::vector<BFloat16> values(kPanels * 16 * 64);
  // Panel 2 has sixty-four upper bytes as often as each other.
  for (int64_t i = 0; i < 16 * 64; ++i) {
    values[2 * 16 * 64 + i].bits = static_cast<uint16_t>((0x20 + i % 64) << 8);
  }
  const WeightMatrix matrix = {.values = View(values.data(), kPanels * 16, 64)};
  const PanelWeight weight(matrix, DataType::kBFloat16, kernels, pool_, arena_);
  EXPECT_EQ(weight.RunEnd(0, kPanels), 2);
  EXPECT_EQ(weight.RunEnd(0, 1), 1);
  EXPECT_EQ(weight.RunEnd(2, kPanels), 3);
  EXPECT_EQ(weight.RunEnd(3, kPanels), kPanels);
  PanelProduct product = {};
  weight.Describe(2, 3, &product);
  EXPECT_EQ(product.layout, PanelLayout::kPairsBFloat16);
  EXPECT_EQ(product.panel_bytes, 16 * 64 * 2);
  EXPECT_EQ(product.out_columns, 16);
  const size_t plain_bytes = static_cast<size_t>(product.panel_bytes);
  weight.Describe(3, kPanels, &product);
  EXPECT_EQ(product.layout, PanelLayout::kPairsCompact);
  EXPECT_EQ(product.out_columns, 32);
  EXPECT_EQ(weight.bytes(), kPanels * static_cast<size_t>(product.panel_bytes) + plain_bytes);
}

TEST_F(PanelWeightTest, PacksTheSameBytesWithAnyNumberOfThreads) {
  WorkerPool three(3);
  const WeightMatrix matrix = MakeFloat8(500, 96, 0, 0);
  const PanelWeight a(matrix, DataType::kBFloat16, Pairs(4), pool_, arena_);
  const PanelWeight b(matrix, DataType::kBFloat16, Pairs(4), three, arena_);
  const PanelProduct first = Describe(a);
  const PanelProduct second = Describe(b);
  const int64_t bytes = first.panel_bytes * first.num_panels;
  EXPECT_EQ(std::vector<uint8_t>(first.panels, first.panels + bytes),
            std::vector<uint8_t>(second.panels, second.panels + bytes));
}

}  // namespace
}  // namespace baton::kernels::cpu
