#include <algorithm>
#include <memory>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kLinearComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr DataType kLinearWeightTypes[] = {DataType::kFloat32, DataType::kBFloat16,
                                           DataType::kFloat8E4M3};

class LinearConformance : public ConformanceTest {
 protected:
  Tensor Run(Ops& on, const TestWeight& weight, const TensorView& x, DataType out_type) {
    const std::unique_ptr<PackedWeight> packed = on.Pack(weight.matrix, x.type);
    EXPECT_EQ(packed->n(), weight.matrix.values.rows);
    EXPECT_EQ(packed->k(), weight.matrix.values.columns);
    Tensor out(out_type, x.rows, packed->n(), 3);
    on.Linear({x, packed.get(), out.view});
    return out;
  }

  static double Tolerance(DataType weight_type, DataType compute_type, DataType out_type) {
    const bool quantised = GetParam().quantises_activations &&
                           compute_type == DataType::kBFloat16 &&
                           weight_type == DataType::kFloat8E4M3;
    return quantised ? kQuantisedTolerance : ProductTolerance(compute_type, out_type);
  }

  void CheckShape(const WeightShape& shape, int64_t m) {
    Random random(static_cast<uint32_t>(shape.n * 31 + shape.k + m));
    const TestWeight weight(random, shape);
    for (DataType type : kLinearComputeTypes) {
      const Tensor x = RandomTensor(random, type, m, shape.k, 1.0f, 5);
      for (DataType out_type : {DataType::kFloat32, type}) {
        const Tensor expected = Run(reference(), weight, x.view, out_type);
        const Tensor actual = Run(ops(), weight, x.view, out_type);
        EXPECT_LE(RelativeL2(actual.view, expected.view), Tolerance(shape.type, type, out_type))
            << Name(shape.type) << " " << m << " x " << shape.n << " x " << shape.k << " in "
            << Name(type) << " out " << Name(out_type) << " offsets " << shape.row_offset << ", "
            << shape.column_offset << " block " << shape.block_size;
      }
    }
  }
};

class LinearAgainstReference : public LinearConformance {};

TEST_P(LinearAgainstReference, MatchesTheReferenceAtOddAndEvenSizes) {
  for (DataType type : kLinearWeightTypes) {
    for (int64_t n : {1, 15, 16, 17, 48, 80}) {
      for (int64_t k : {1, 2, 7, 64, 127, 128, 130, 300}) CheckShape({type, n, k}, 3);
    }
  }
}

TEST_P(LinearAgainstReference, MatchesTheReferenceForEveryNumberOfRows) {
  for (DataType type : kLinearWeightTypes) {
    for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 13, 16, 17, 31, 32, 33, 50}) {
      CheckShape({type, 100, 260}, m);
    }
  }
}

TEST_P(LinearAgainstReference, MatchesTheReferenceAtTheDemoModelsShapes) {
  const WeightShape shapes[] = {
      {DataType::kFloat8E4M3, 384, 128},  {DataType::kFloat8E4M3, 80, 256},
      {DataType::kFloat8E4M3, 1024, 256}, {DataType::kFloat8E4M3, 256, 1024},
      {DataType::kBFloat16, 2048, 256},   {DataType::kBFloat16, 16, 256}};
  for (const WeightShape& shape : shapes) CheckShape(shape, 5);
}

TEST_P(LinearAgainstReference, MatchesTheReferenceWhereShardsCutScaleBlocks) {
  for (int64_t offset : {16, 112, 5, 127}) {
    CheckShape({DataType::kFloat8E4M3, 16, 256, 128, offset, 0}, 3);
    CheckShape({DataType::kFloat8E4M3, 256, 16, 128, 0, offset}, 3);
    CheckShape({DataType::kFloat8E4M3, 150, 301, 128, offset, offset}, 4);
  }
}

TEST_P(LinearAgainstReference, MatchesTheReferenceForOtherBlockSizes) {
  for (int64_t block : {1, 3, 16, 32, 64, 256}) {
    CheckShape({DataType::kFloat8E4M3, 37, 70, block, block / 2, block / 3}, 3);
  }
}

TEST_P(LinearConformance, NoRowsAreNoWork) {
  Random random(1);
  const TestWeight weight(random, {DataType::kFloat8E4M3, 32, 128});
  for (DataType type : kLinearComputeTypes) {
    const Tensor x(type, 0, 128);
    EXPECT_EQ(Run(ops(), weight, x.view, type).view.rows, 0);
  }
}

TEST_P(LinearConformance, WidensEveryFloat8CodeExactly) {
  // Row i of the weight is code i at column 0: x = 1 there gives the value itself.
  Tensor values(DataType::kFloat8E4M3, 256, 4);
  for (int64_t i = 0; i < 256; ++i)
    values.view.Row<Float8E4M3>(i)[0].bits = static_cast<uint8_t>(i);
  Tensor scales(DataType::kFloat32, 2, 1);
  Put(scales.view, 0, 0, 1.0f);
  Put(scales.view, 1, 0, 1.0f);
  for (DataType type : kLinearComputeTypes) {
    Tensor x(type, 1, 4);
    Put(x.view, 0, 0, 1.0f);
    const std::unique_ptr<PackedWeight> packed = ops().Pack({values.view, scales.view}, type);
    Tensor out(DataType::kFloat32, 1, 256);
    ops().Linear({x.view, packed.get(), out.view});
    for (int64_t i = 0; i < 256; ++i) {
      const float expected = ToFloat(Float8E4M3{static_cast<uint8_t>(i)});
      const float actual = Get(out.view, 0, i);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(actual)) << "code " << i;
      } else {
        EXPECT_EQ(actual, expected) << "code " << i;
      }
    }
  }
}

TEST_P(LinearConformance, RoundsFloat32WeightsOnceForBFloat16) {
  Tensor values(DataType::kFloat32, 1, 2);
  Put(values.view, 0, 0, 1.00390625f);  // halfway between two bfloat16: to even, 1
  Put(values.view, 0, 1, 0.0f);
  Tensor x(DataType::kBFloat16, 1, 2);
  Put(x.view, 0, 0, 1.0f);
  const std::unique_ptr<PackedWeight> packed = ops().Pack({values.view}, DataType::kBFloat16);
  Tensor out(DataType::kFloat32, 1, 1);
  ops().Linear({x.view, packed.get(), out.view});
  EXPECT_EQ(Get(out.view, 0, 0), 1.0f);
}

TEST_P(LinearConformance, GivesARowTheSameBitsAloneInABatchAndInAnyPlace) {
  Random random(5);
  for (DataType weight_type : kLinearWeightTypes) {
    for (DataType type : kLinearComputeTypes) {
      const WeightShape shape = {weight_type, 120, 333, 128, 7, 100};
      const TestWeight weight(random, shape);
      const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, type);
      const Tensor x = RandomTensor(random, type, 37, shape.k);
      Tensor all(type, 37, shape.n);
      ops().Linear({x.view, packed.get(), all.view});
      for (int64_t begin = 0; begin < 37; ++begin) {
        for (int64_t count : {1, 2, 5, 17}) {
          if (begin + count > 37) continue;
          Tensor part(type, count, shape.n);
          ops().Linear({x.view.Rows(begin, count), packed.get(), part.view});
          for (int64_t r = 0; r < count; ++r) {
            ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r))
                << Name(weight_type) << " " << Name(type) << " row " << begin + r
                << " in a batch of " << count;
          }
        }
      }
    }
  }
}

TEST_P(LinearConformance, GivesTheSameBitsWithAnyNumberOfThreads) {
  if (GetParam().is_reference()) GTEST_SKIP() << "has one thread";
  Random random(6);
  const WeightShape shape = {DataType::kFloat8E4M3, 700, 512};
  const TestWeight weight(random, shape);
  for (DataType type : kLinearComputeTypes) {
    const Tensor x = RandomTensor(random, type, 9, shape.k);
    const Tensor expected = Run(ops(), weight, x.view, type);
    for (int threads : {1, 2, 5}) {
      BackendCase other = GetParam();
      other.num_threads = threads;
      Team team = other.create(other)->CreateTeam(1, 1).value();
      const Tensor actual = Run(*team.devices[0].ops, weight, x.view, type);
      EXPECT_TRUE(SameBits(actual.view, expected.view)) << threads << " threads";
    }
  }
}

TEST_P(LinearConformance, KeepsFloat8WeightsInOneByteEach) {
  if (GetParam().is_reference()) GTEST_SKIP() << "widens for plainness";
  Random random(7);
  const TestWeight weight(random, {DataType::kFloat8E4M3, 512, 1024});
  for (DataType type : kLinearComputeTypes) {
    EXPECT_LE(ops().Pack(weight.matrix, type)->bytes(), 512u * 1024u * 101u / 100u);
  }
}

TEST_P(LinearConformance, BandsOfRowsMakeTheWeightThatAllRowsMake) {
  const int64_t step = ops().band_rows();
  if (step == 0) GTEST_SKIP() << "packs weights whole";
  Random random(9);
  for (DataType weight_type : {DataType::kFloat32, DataType::kBFloat16}) {
    for (DataType type : kLinearComputeTypes) {
      const int64_t n = 5 * step + 3;
      const TestWeight weight(random, {weight_type, n, 333});
      const TensorView& values = weight.matrix.values;
      const Tensor x = RandomTensor(random, type, 7, 333);
      const std::unique_ptr<PackedWeight> whole = ops().Pack(weight.matrix, type);
      Tensor expected(type, 7, n);
      ops().Linear({x.view, whole.get(), expected.view});
      std::unique_ptr<PackedWeight> banded;
      const auto pack = [&](const TensorView& from, int64_t first, int64_t count) {
        ops().PackBand({from.Rows(first, count), first, n}, type, banded);
      };
      const Tensor others = RandomTensor(random, weight_type, n, 333);
      pack(values, 4 * step, n - 4 * step);  // the last rows first
      pack(others.view, 0, 2 * step);        // comes again
      pack(values, 2 * step, 2 * step);
      pack(values, 0, 2 * step);
      EXPECT_EQ(banded->n(), n);
      EXPECT_EQ(banded->bytes(), whole->bytes());
      Tensor actual(type, 7, n);
      ops().Linear({x.view, banded.get(), actual.view});
      EXPECT_TRUE(SameBits(actual.view, expected.view)) << Name(weight_type) << " " << Name(type);
    }
  }
}

TEST_P(LinearAgainstReference, HeadwiseProductsMatchTheReference) {
  Random random(8);
  for (DataType weight_type : kLinearWeightTypes) {
    for (DataType type : kLinearComputeTypes) {
      for (int64_t stride : {0, 48, 61}) {
        constexpr int64_t kHeads = 3;
        constexpr int64_t kIn = 32;
        constexpr int64_t kOut = 33;
        std::vector<std::unique_ptr<PackedWeight>> owned[2];
        std::vector<const PackedWeight*> weights[2];
        for (int64_t h = 0; h < kHeads; ++h) {
          const TestWeight weight(random, {weight_type, kOut, kIn});
          Ops* devices[2] = {&reference(), &ops()};
          for (int d = 0; d < 2; ++d) {
            owned[d].push_back(devices[d]->Pack(weight.matrix, type));
            weights[d].push_back(owned[d].back().get());
          }
        }
        const int64_t width = (kHeads - 1) * (stride == 0 ? kIn : stride) + kIn;
        const Tensor x = RandomTensor(random, type, 5, width);
        Tensor expected(type, 5, kHeads * kOut);
        Tensor actual(type, 5, kHeads * kOut);
        reference().HeadwiseLinear({x.view, stride, weights[0], expected.view});
        ops().HeadwiseLinear({x.view, stride, weights[1], actual.view});
        EXPECT_LE(RelativeL2(actual.view, expected.view), ProductTolerance(type, type));
      }
    }
  }
}

TEST_P(LinearAgainstReference, LargeProductsMatchTheReference) {
  if (GetParam().is_reference()) GTEST_SKIP() << "compared with itself at smaller sizes";
  CheckShape({DataType::kFloat8E4M3, 1100, 2060, 128, 64, 32}, 2);
}

BATON_CONFORMANCE_TESTS(LinearConformance);
BATON_COMPARISON_TESTS(LinearAgainstReference);

}  // namespace
}  // namespace baton::kernels
