// Large weights of bfloat16, which the CPU backend holds in twelve bits per element: products have
// the bits that they have with weights as they are, and with those that are adopted.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cpu/compact_panel.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_variant.h"
#include "tests/conformance/kernels/copied_image.h"
#include "tests/conformance/kernels/modelled_tiles.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

struct CompactCase {
  std::string name;
  const cpu::VariantKernels* kernels;
};

void PrintTo(const CompactCase& variant, std::ostream* out) { *out << variant.name; }

std::vector<CompactCase> CompactCases() {
  std::vector<CompactCase> cases;
  for (const CpuVariant variant : AvailableCpuVariants()) {
    cases.push_back({std::string(Name(variant)), FindCpuKernels(variant).value()});
  }
  if (ModelledTileKernels() != nullptr && FindCpuKernels(CpuVariant::kAvx512Bf16).ok()) {
    cases.push_back({"modelled_tiles", ModelledTileKernels()});
  }
  return cases;
}

std::string VariantName(const ::testing::TestParamInfo<CompactCase>& variant) {
  return variant.param.name;
}

constexpr int64_t kRowCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 15, 16, 17, 31, 32, 33, 40};

// A variant's device that holds weights as they are, and one that holds all it can compact.
class CompactWeights : public ::testing::TestWithParam<CompactCase> {
 protected:
  void SetUp() override {
    for (const bool compact : {false, true}) {
      kernels_[compact] = *GetParam().kernels;
      kernels_[compact].compact_from = compact ? 1 : INT64_MAX;
      backends_[compact] = CreateCpuBackendWith(kernels_[compact], compact ? 2 : 1).value();
      teams_[compact] = backends_[compact]->CreateTeam(1, 1).value();
    }
  }

  Ops& plain() { return *teams_[false].devices[0].ops; }
  Ops& compact() { return *teams_[true].devices[0].ops; }

  // Bytes of the compact weight by those of the plain one.
  double ExpectSameProducts(const TensorView& values) {
    double share = 0;
    for (const DataType type : {DataType::kBFloat16, DataType::kFloat32}) {
      const std::unique_ptr<PackedWeight> as_is = plain().Pack({.values = values}, type);
      const std::unique_ptr<PackedWeight> packed = compact().Pack({.values = values}, type);
      for (const int64_t rows : kRowCounts) {
        const Tensor x = RandomTensor(random_, type, rows, values.columns, 1.0f, 3);
        Tensor expected(type, rows, values.rows, 1);
        Tensor actual(type, rows, values.rows, 1);
        plain().Linear({x.view, as_is.get(), expected.view});
        compact().Linear({x.view, packed.get(), actual.view});
        EXPECT_TRUE(SameBits(actual.view, expected.view))
            << Name(type) << " " << rows << " x " << values.rows << " x " << values.columns;
      }
      share = static_cast<double>(packed->bytes()) / static_cast<double>(as_is->bytes());
    }
    return share;
  }

  // Exponents of 70 binades: no sixteen of them are enough.
  void Scatter(const TensorView& view) {
    for (int64_t row = 0; row < view.rows; ++row) {
      for (int64_t column = 0; column < view.columns; ++column) {
        const auto exponent = static_cast<uint32_t>(90 + random_() % 70);
        view.Row<BFloat16>(row)[column].bits =
            static_cast<uint16_t>(exponent << 7 | (random_() & 0x807f));
      }
    }
  }

  Random random_{17};

 private:
  cpu::VariantKernels kernels_[2];
  std::unique_ptr<Backend> backends_[2];
  Team teams_[2];
};

TEST_P(CompactWeights, NormalWeightsTakeThreeQuarters) {
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1, 8}, {16, 8}, {17, 64}, {100, 136}}) {
    const Tensor values = RandomTensor(random_, DataType::kBFloat16, n, k, 0.02f, 5);
    ExpectSameProducts(values.view);
  }
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, 176, 2048, 0.02f);
  EXPECT_LT(ExpectSameProducts(values.view), 0.757);
}

TEST_P(CompactWeights, OddSizesStayAsTheyAre) {
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, 37, 133, 0.02f);
  EXPECT_EQ(ExpectSameProducts(values.view), 1.0);
}

TEST_P(CompactWeights, Float32WeightsAreRoundedFirst) {
  const Tensor values = RandomTensor(random_, DataType::kFloat32, 50, 264, 0.02f);
  ExpectSameProducts(values.view);
}

TEST_P(CompactWeights, ZerosAndWeightsOfNothingElse) {
  const Tensor zeros(DataType::kBFloat16, 33, 256);
  ExpectSameProducts(zeros.view);
  const Tensor none(DataType::kBFloat16, 0, 256);
  ExpectSameProducts(none.view);
}

TEST_P(CompactWeights, NumbersOfEveryKind) {
  const uint16_t kinds[] = {0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x8080,
                            0x7e00, 0xfe12, 0x7f80, 0xff80, 0x7fc1, 0xff81};
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, 100, 520, 0.02f);
  int64_t row = 0;
  for (const uint16_t bits : kinds) {
    values.view.Row<BFloat16>(row)[(row * 97) % 520].bits = bits;
    row += 8;
  }
  EXPECT_LT(ExpectSameProducts(values.view), 0.78);
}

TEST_P(CompactWeights, PanelsWithTooManyExponentsStayAsTheyAre) {
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, 150, 256, 0.02f);
  for (const int64_t panel : {0, 3, 4, 9}) {
    const int64_t first = panel * 16;
    Scatter(values.view.Rows(first, std::min<int64_t>(16, 150 - first)));
  }
  EXPECT_GT(ExpectSameProducts(values.view), 1.0);
  Scatter(values.view);
  ExpectSameProducts(values.view);
}

TEST_P(CompactWeights, RowsOfAnotherMagnitude) {
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, 64, 2048, 0.02f);
  for (int64_t i = 0; i < 2048; ++i) {
    const float value = Get(values.view, 5, i);
    Put(values.view, 5, i, value * 0x1p-7f);
    Put(values.view, 40, i, 0.0f);
  }
  EXPECT_LT(ExpectSameProducts(values.view), 0.757);
}

TEST_P(CompactWeights, BandsMakeTheWeightThatAllRowsMake) {
  constexpr int64_t kRows = 5 * 16 + 3;
  const Tensor values = RandomTensor(random_, DataType::kBFloat16, kRows, 264, 0.02f);
  Scatter(values.view.Rows(48, 16));
  const Tensor others = RandomTensor(random_, DataType::kBFloat16, kRows, 264, 0.02f);
  Scatter(others.view.Rows(16, 16));
  const DataType type = DataType::kBFloat16;
  const std::unique_ptr<PackedWeight> whole = compact().Pack({.values = values.view}, type);
  std::unique_ptr<PackedWeight> banded;
  const auto pack = [&](const TensorView& from, int64_t first, int64_t count) {
    compact().PackBand({from.Rows(first, count), first, kRows}, type, banded);
  };
  pack(values.view, 64, kRows - 64);
  pack(others.view, 0, 64);  // comes again: plain panels become compact, and the other way round
  pack(values.view, 32, 32);
  pack(values.view, 0, 32);
  EXPECT_EQ(banded->bytes(), whole->bytes());
  const Tensor x = RandomTensor(random_, type, 7, 264);
  Tensor expected(type, 7, kRows);
  Tensor actual(type, 7, kRows);
  compact().Linear({x.view, whole.get(), expected.view});
  compact().Linear({x.view, banded.get(), actual.view});
  EXPECT_TRUE(SameBits(actual.view, expected.view));
}

TEST_P(CompactWeights, HeadsSideBySide) {
  constexpr int64_t kHeads = 3;
  const DataType type = DataType::kBFloat16;
  std::vector<std::unique_ptr<PackedWeight>> owned[2];
  std::vector<const PackedWeight*> weights[2];
  for (int64_t head = 0; head < kHeads; ++head) {
    const Tensor values = RandomTensor(random_, type, 33, 64, 0.02f);
    for (const bool is_compact : {false, true}) {
      Ops& ops = is_compact ? compact() : plain();
      owned[is_compact].push_back(ops.Pack({.values = values.view}, type));
      weights[is_compact].push_back(owned[is_compact].back().get());
    }
  }
  const Tensor x = RandomTensor(random_, type, 9, kHeads * 64);
  Tensor expected(type, 9, kHeads * 33);
  Tensor actual(type, 9, kHeads * 33);
  plain().HeadwiseLinear({x.view, 0, weights[false], expected.view});
  compact().HeadwiseLinear({x.view, 0, weights[true], actual.view});
  EXPECT_TRUE(SameBits(actual.view, expected.view));
}

// Weights as bytes, some panels of which stay plain: with k = 256, a panel's list is of 16 words.
class CompactImages : public CompactWeights {
 protected:
  static constexpr int64_t kRows = 150;
  static constexpr int64_t kColumns = 256;
  static constexpr int64_t kPlainPanels[] = {0, 3, 4, 9};

  void SetUp() override {
    CompactWeights::SetUp();
    values_ = RandomTensor(random_, DataType::kBFloat16, kRows, kColumns, 0.02f);
    for (const int64_t panel : kPlainPanels) {
      Scatter(values_.view.Rows(panel * 16, std::min<int64_t>(16, kRows - panel * 16)));
    }
    // A stray in the first of the other panels, and in the last.
    for (const int64_t row : {20, 143}) values_.view.Row<BFloat16>(row)[kColumns - 1].bits = 0x7100;
  }

  std::unique_ptr<PackedWeight> Packed(DataType type) {
    return compact().Pack({.values = values_.view}, type);
  }
  absl::Status AdoptStatus(const WeightImage& image) {
    return compact().Adopt(image, nullptr).status();
  }
  // The words of a panel's list, in the copy of an image.
  static std::span<uint32_t> Strays(CopiedImage& copy, int64_t panel) {
    const std::span<std::byte> elements = copy.memories[0]->span();
    const size_t panel_bytes = elements.size() / 10;
    const auto offset = static_cast<size_t>(cpu::CompactStrayOffset(kColumns));
    std::byte* const list = elements.data() + static_cast<size_t>(panel) * panel_bytes + offset;
    return {reinterpret_cast<uint32_t*>(list), (panel_bytes - offset) / sizeof(uint32_t)};
  }
  void ExpectSameAsPlain(const PackedWeight& weight, DataType type) {
    const std::unique_ptr<PackedWeight> plain_weight = plain().Pack({.values = values_.view}, type);
    for (const int64_t rows : kRowCounts) {
      const Tensor x = RandomTensor(random_, type, rows, kColumns);
      Tensor expected(type, rows, kRows);
      Tensor actual(type, rows, kRows);
      plain().Linear({x.view, plain_weight.get(), expected.view});
      compact().Linear({x.view, &weight, actual.view});
      EXPECT_TRUE(SameBits(actual.view, expected.view)) << rows << " rows in " << Name(type);
    }
  }

  Tensor values_;
};

TEST_P(CompactImages, ComeBackWithTheSameBits) {
  for (const DataType type : {DataType::kBFloat16, DataType::kFloat32}) {
    std::unique_ptr<PackedWeight> packed = Packed(type);
    const CopiedImage copy(compact().Export(*packed));
    ASSERT_EQ(copy.image.pieces.size(), 2 + std::size(kPlainPanels));
    size_t bytes = 0;
    for (const std::span<const std::byte>& piece : copy.image.pieces) bytes += piece.size();
    EXPECT_EQ(bytes, packed->bytes());
    packed = nullptr;
    const auto adopted = compact().Adopt(copy.image, copy.owner());
    ASSERT_TRUE(adopted.ok()) << adopted.status();
    EXPECT_EQ((*adopted)->bytes(), bytes);
    ExpectSameAsPlain(**adopted, type);
    const WeightImage again = compact().Export(**adopted);
    EXPECT_EQ(again.form, copy.image.form);
    ASSERT_EQ(again.pieces.size(), copy.image.pieces.size());
    for (size_t i = 0; i < again.pieces.size(); ++i) {
      EXPECT_TRUE(std::ranges::equal(again.pieces[i], copy.image.pieces[i])) << "piece " << i;
    }
  }
}

TEST_P(CompactImages, ThatNoWeightExportsAreRefused) {
  const std::unique_ptr<PackedWeight> packed = Packed(DataType::kBFloat16);
  const CopiedImage whole(compact().Export(*packed));
  using Change = std::function<void(CopiedImage&)>;
  const Change changes[] = {
      [](auto& copy) {
        copy.image.form[1] = 4096;
      },  // segments of more than products have room for
      [](auto& copy) { copy.image.form[1] = 64; },
      [](auto& copy) { copy.image.form[1] = 1; },
      [](auto& copy) { copy.image.form[2] = 8; },
      [](auto& copy) { copy.image.form[3] = 1; },
      [](auto& copy) { copy.image.form[0] = 7; },
      [](auto& copy) { copy.image.form[0] = 1; },
      [](auto& copy) { copy.image.n += 16; },
      [](auto& copy) { copy.image.k += 8; },
      [](auto& copy) { copy.image.k = 0; },
      [](auto& copy) { copy.image.k -= 4; },
      [](auto& copy) { copy.image.pieces.pop_back(); },
      [](auto& copy) { copy.image.pieces.resize(1); },
      [](auto& copy) { copy.image.pieces.push_back(copy.image.pieces.back()); },
      [](auto& copy) { copy.image.pieces[1] = copy.image.pieces[2]; },
      [](auto& copy) { copy.image.pieces[3] = copy.image.pieces[3].first(64); },
      [](auto& copy) { copy.image.pieces[3] = copy.image.pieces[3].subspan(64); },
      [](auto& copy) {
        copy.image.pieces[3] = {copy.image.pieces[3].data() + 2, 8192};
      },
      // Of headers: panels that are here and elsewhere, or neither.
      [](auto& copy) { copy.memories[0]->span()[16] = std::byte{0}; },
      [](auto& copy) { copy.memories[0]->span()[16] = std::byte{2}; },
      [](auto& copy) { std::ranges::fill(copy.memories[0]->span(), std::byte{0}); },
      [](auto& copy) { std::ranges::fill(copy.memories[0]->span(), std::byte{0xff}); },
      // Of lists: without an end, with more behind it, out of order, twice the same, beyond the
      // panel.
      [](auto& copy) { Strays(copy, 8).back() = 0; },
      [](auto& copy) { std::ranges::fill(Strays(copy, 8), 0); },
      [](auto& copy) { Strays(copy, 1)[5] = 7 << 8; },
      [](auto& copy) { std::swap(Strays(copy, 1)[0], Strays(copy, 1)[1]); },
      [](auto& copy) { Strays(copy, 1)[1] = Strays(copy, 1)[0]; },
      [](auto& copy) { Strays(copy, 8)[0] = kColumns * 16 << 8; },
      [](auto& copy) { Strays(copy, 8)[0] = 0xffffff00; },
      [](auto& copy) {
        const std::span<uint32_t> list = Strays(copy, 1);
        for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<uint32_t>(i << 8);
      },
  };
  ASSERT_TRUE(AdoptStatus(whole.image).ok());
  for (size_t i = 0; i < std::size(changes); ++i) {
    CopiedImage copy(whole.image);
    changes[i](copy);
    EXPECT_EQ(AdoptStatus(copy.image).code(), absl::StatusCode::kInvalidArgument) << "case " << i;
  }
}

TEST_P(CompactImages, AreReadToTheirEndsWhateverTheyHold) {
  const std::unique_ptr<PackedWeight> packed = Packed(DataType::kBFloat16);
  const WeightImage whole = compact().Export(*packed);
  int num_adopted = 0;
  for (int run = 0; run < 200; ++run) {
    CopiedImage copy(whole);
    const std::span<std::byte> elements = copy.memories[0]->span();
    for (int i = 0; i < 3; ++i) {
      const std::span<uint32_t> list = Strays(copy, static_cast<int64_t>(random_() % 10));
      const auto byte = static_cast<std::byte>(random_());
      // Of any size: small ones are of early places.
      const auto word = static_cast<uint32_t>(random_() >> random_() % 32);
      if (run % 4 == 0) list[random_() % list.size()] = word;
      if (run % 4 == 2) std::ranges::fill(list, word);
      if (run % 2 == 1) elements[random_() % elements.size()] = byte;
      for (size_t piece = 2; piece < copy.memories.size(); ++piece) {
        const std::span<std::byte> panel = copy.memories[piece]->span();
        panel[random_() % panel.size()] = byte;
      }
    }
    const auto adopted = compact().Adopt(copy.image, nullptr);
    if (!adopted.ok()) continue;
    ++num_adopted;
    for (const int64_t rows : {1, 5, 33}) {
      const Tensor x = RandomTensor(random_, DataType::kBFloat16, rows, kColumns);
      Tensor out(DataType::kBFloat16, rows, kRows);
      compact().Linear({x.view, adopted->get(), out.view});
    }
  }
  // Lists alone are looked at.
  EXPECT_GT(num_adopted, 50);
  EXPECT_LT(num_adopted, 150);
}

TEST_P(CompactImages, AreOfTheirKernelsAlone) { EXPECT_NE(compact().packing(), plain().packing()); }

INSTANTIATE_TEST_SUITE_P(Variants, CompactWeights, ::testing::ValuesIn(CompactCases()),
                         VariantName);
INSTANTIATE_TEST_SUITE_P(Variants, CompactImages, ::testing::ValuesIn(CompactCases()), VariantName);

}  // namespace
}  // namespace baton::kernels
