// Shapes that fast kernels are made for: rows at multiples of 16 bytes, whole scale blocks, the
// widths of DeepSeek-R1. Backends that round activations to FP8 there are held to an oracle that
// rounds them the same way, all others to the reference.
#include <algorithm>
#include <memory>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/networks.h"
#include "tests/conformance/kernels/quantised_rows.h"
#include "tests/conformance/kernels/tensors.h"
#include "tests/conformance/sanitized.h"

namespace baton::kernels {
namespace {

constexpr DataType kAlignedWeightTypes[] = {DataType::kBFloat16, DataType::kFloat8E4M3};
constexpr DataType kWideComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr int64_t kWideHidden = 7168;

// Two experts and the shared one of R1 on one of eight ranks, rows in both compute types, and what
// the reference makes of them, which takes longest and serves all backends.
struct WideMixture {
  static constexpr int64_t kRows = 3;

  explicit WideMixture(Ops& reference) {
    for (int i = 0; i < 2; ++i) {
      x[i] = RandomTensor(random, kWideComputeTypes[i], kRows, kWideHidden, 1.0f, 8);
      expected[i] = RunMixture(reference, mixture, slots, x[i].view, 0);
    }
  }

  Random random{12};
  Mixture mixture = MakeMixture(random, {DataType::kFloat8E4M3, 2, kWideHidden, 256, 256});
  Slots slots = RandomSlots(random, kRows, 2, 2);
  Tensor x[2];
  Tensor expected[2];
};

// The same of a dense network, of which sanitized builds have a ninth.
struct WideNetwork {
  static constexpr int64_t kRows = 2;

  explicit WideNetwork(Ops& reference) {
    for (int i = 0; i < 2; ++i) {
      x[i] = RandomTensor(random, kWideComputeTypes[i], kRows, kWideHidden, 1.0f, 8);
      expected[i] = Tensor(DataType::kFloat32, kRows, kWideHidden);
      const PackedNetwork packed(reference, network, kWideComputeTypes[i]);
      reference.FeedForward({x[i].view, packed.weights(), expected[i].view});
    }
  }

  Random random{13};
  Network network =
      Network(random, DataType::kFloat8E4M3, kWideHidden, IsSanitized() ? 256 : 2304, 0);
  Tensor x[2];
  Tensor expected[2];
};

class AlignedShapesConformance : public ConformanceTest {
 protected:
  static bool quantises() { return GetParam().quantises_activations; }
  static bool Rounds(DataType weight_type) {
    return quantises() && weight_type == DataType::kFloat8E4M3;
  }
  // Of networks with FP8 weights, against the reference.
  static double ToleranceIn(DataType compute_type) {
    return quantises() && compute_type == DataType::kBFloat16 ? kUnquantisedNetworkTolerance
                                                              : NetworkTolerance(compute_type);
  }

  // x W^T in float32, x rounded to FP8 first if the backend does so.
  Tensor ExpectedProduct(const TestWeight& weight, const TensorView& x, bool rounds) {
    const Tensor taken = rounds ? QuantisedRows(x) : CopyOf(x);
    const std::unique_ptr<PackedWeight> packed = reference().Pack(weight.matrix, taken.view.type);
    Tensor out(DataType::kFloat32, x.rows, packed->n());
    reference().Linear({taken.view, packed.get(), out.view});
    return out;
  }

  void CheckProduct(const WeightShape& shape, const std::vector<int64_t>& batches) {
    Random random(static_cast<uint32_t>(shape.n * 7 + shape.k));
    const TestWeight weight(random, shape);
    const Tensor x =
        RandomTensor(random, DataType::kBFloat16, *std::max_element(batches.begin(), batches.end()),
                     shape.k, 1.0f, 8);
    const bool rounds = Rounds(shape.type);
    const Tensor expected = ExpectedProduct(weight, x.view, rounds);
    const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, DataType::kBFloat16);
    for (const int64_t rows : batches) {
      for (const DataType out_type : {DataType::kFloat32, DataType::kBFloat16}) {
        Tensor out(out_type, rows, shape.n, 8);
        ops().Linear({x.view.Rows(0, rows), packed.get(), out.view});
        EXPECT_LE(
            RelativeL2(out.view, expected.view.Rows(0, rows)),
            rounds ? kQuantisedProductTolerance : ProductTolerance(DataType::kBFloat16, out_type))
            << Name(shape.type) << " " << rows << " x " << shape.n << " x " << shape.k << " out "
            << Name(out_type);
      }
    }
  }

  // One network of one row after the other, both products from rounded activations.
  Tensor ExpectedNetwork(const Network& network, const TensorView& x) {
    const Tensor gate = ExpectedProduct(network.gate, x, true);
    const Tensor up = ExpectedProduct(network.up, x, true);
    Tensor inner(DataType::kBFloat16, x.rows, gate.view.columns);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < gate.view.columns; ++c) {
        const float g = Get(gate.view, r, c);
        Put(inner.view, r, c, g / (1.0f + std::exp(-g)) * Get(up.view, r, c));
      }
    }
    return ExpectedProduct(network.down, inner.view, true);
  }

  Tensor ExpectedMixture(const Mixture& mixture, const Slots& slots, const TensorView& x) {
    Tensor sum(DataType::kFloat32, x.rows, x.columns);
    const auto add = [&](const Network& network, int64_t row, float weight) {
      const Tensor part = ExpectedNetwork(network, x.Rows(row, 1));
      for (int64_t c = 0; c < x.columns; ++c) {
        Put(sum.view, row, c, Get(sum.view, row, c) + weight * Get(part.view, 0, c));
      }
    };
    for (int64_t row = 0; row < x.rows; ++row) {
      for (int64_t s = row * slots.top_k; s < (row + 1) * slots.top_k; ++s) {
        if (slots.experts[s] >= 0) add(mixture.experts[slots.experts[s]], row, slots.weights[s]);
      }
      for (const Network& network : mixture.shared) add(network, row, 1.0f);
    }
    return sum;
  }

  void CheckMixture(const MixtureShape& shape, const Slots& slots, int64_t out_gap) {
    Random random(static_cast<uint32_t>(shape.hidden + shape.num_experts));
    const Mixture mixture = MakeMixture(random, shape);
    const auto tokens = static_cast<int64_t>(slots.experts.size()) / slots.top_k;
    const Tensor x = RandomTensor(random, DataType::kBFloat16, tokens, shape.hidden, 1.0f, 8);
    const Tensor actual = RunMixture(ops(), mixture, slots, x.view, out_gap);
    const Tensor plain = RunMixture(reference(), mixture, slots, x.view, 0);
    if (!Rounds(shape.type)) {
      EXPECT_LE(RelativeL2(actual.view, plain.view), NetworkTolerance(DataType::kBFloat16))
          << tokens << " tokens";
      return;
    }
    EXPECT_LE(RelativeL2(actual.view, plain.view), kUnquantisedNetworkTolerance);
    EXPECT_LE(RelativeL2(actual.view, ExpectedMixture(mixture, slots, x.view).view),
              kQuantisedNetworkTolerance)
        << tokens << " tokens";
  }
};

TEST_P(AlignedShapesConformance, ProductsMatchTheReference) {
  for (const DataType type : kAlignedWeightTypes) {
    CheckProduct({type, 320, 1024}, {1, 9, 70});
    CheckProduct({type, 128, 2048}, {1, 16, 33});
    CheckProduct({type, 264, 128}, {8, 65, 130});
  }
  CheckProduct({DataType::kBFloat16, 130, 200}, {3, 17, 64});
  CheckProduct({DataType::kBFloat16, 17, 8}, {3, 40});
}

TEST_P(AlignedShapesConformance, ProductsOfOneRankOfR1MatchTheReference) {
  CheckProduct({DataType::kFloat8E4M3, 1536, 7168}, {1, 3});  // q_a
  CheckProduct({DataType::kFloat8E4M3, 576, 7168}, {1, 3});   // kv_a
  CheckProduct({DataType::kFloat8E4M3, 3072, 1536}, {1, 3});  // q_b
  CheckProduct({DataType::kFloat8E4M3, 7168, 2048}, {1, 3});  // o
  CheckProduct({DataType::kBFloat16, 256, 7168}, {1, 3});     // router
  CheckProduct({DataType::kBFloat16, 2020, 7168}, {1, 3});    // an eighth of a rank's logits
}

// As many as a library takes them from, and some that it leaves.
TEST_P(AlignedShapesConformance, ProductsOfManyRowsMatchTheReference) {
  for (const DataType type : kAlignedWeightTypes) CheckProduct({type, 576, 256}, {512, 531});
}

TEST_P(AlignedShapesConformance, RoundingActivationsCostsWhatIsSaid) {
  Random random(3);
  const TestWeight weight(random, {DataType::kFloat8E4M3, 200, 1024});
  const Tensor x = RandomTensor(random, DataType::kBFloat16, 5, 1024);
  const double cost = RelativeL2(ExpectedProduct(weight, x.view, true).view,
                                 ExpectedProduct(weight, x.view, false).view);
  EXPECT_GT(cost, 1e-2);
  EXPECT_LT(cost, kQuantisedTolerance);
}

TEST_P(AlignedShapesConformance, HeadwiseProductsMatchTheReference) {
  struct HeadShape {
    int64_t heads, n, k, stride;
  };
  // Queries into the latent space, values out of it, and heads that end inside a tile.
  for (const HeadShape& shape :
       {HeadShape{16, 512, 128, 192}, {16, 128, 512, 0}, {3, 36, 64, 72}}) {
    Random random(static_cast<uint32_t>(shape.n));
    std::vector<std::unique_ptr<PackedWeight>> owned[2];
    std::vector<const PackedWeight*> weights[2];
    Ops* devices[2] = {&reference(), &ops()};
    for (int64_t h = 0; h < shape.heads; ++h) {
      const TestWeight weight(random, {DataType::kBFloat16, shape.n, shape.k});
      for (int d = 0; d < 2; ++d) {
        owned[d].push_back(devices[d]->Pack(weight.matrix, DataType::kBFloat16));
        weights[d].push_back(owned[d].back().get());
      }
    }
    const int64_t stride = shape.stride == 0 ? shape.k : shape.stride;
    for (const int64_t rows : {1, 12, 70}) {
      const Tensor x = RandomTensor(random, DataType::kBFloat16, rows, shape.heads * stride);
      Tensor outs[2] = {Tensor(DataType::kBFloat16, rows, shape.heads * shape.n),
                        Tensor(DataType::kBFloat16, rows, shape.heads * shape.n)};
      for (int d = 0; d < 2; ++d) {
        devices[d]->HeadwiseLinear({x.view, shape.stride, weights[d], outs[d].view});
      }
      EXPECT_LE(RelativeL2(outs[1].view, outs[0].view),
                ProductTolerance(DataType::kBFloat16, DataType::kBFloat16))
          << rows << " rows of " << shape.heads << " heads " << shape.n << " x " << shape.k;
    }
  }
}

TEST_P(AlignedShapesConformance, ARowOfAProductHasTheSameBitsInEveryBatch) {
  constexpr int64_t kRows = 130;
  for (const DataType type : kAlignedWeightTypes) {
    Random random(6);
    const TestWeight weight(random, {type, 192, 512});
    const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, DataType::kBFloat16);
    const Tensor x = RandomTensor(random, DataType::kBFloat16, kRows, 512);
    Tensor all(DataType::kFloat32, kRows, 192);
    ops().Linear({x.view, packed.get(), all.view});
    for (const int64_t count : {1, 5, 8, 13, 24, 64, 65}) {
      for (int64_t begin = 0; begin + count <= kRows; begin += 31) {
        Tensor part(DataType::kFloat32, count, 192);
        ops().Linear({x.view.Rows(begin, count), packed.get(), part.view});
        for (int64_t r = 0; r < count; ++r) {
          ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r))
              << Name(type) << " row " << begin + r << " in a batch of " << count;
        }
      }
    }
  }
}

TEST_P(AlignedShapesConformance, ARowOfAProductHasTheSameBitsAmongMany) {
  if (GetParam().through_cublas) GTEST_SKIP() << "the library promises no order of summation";
  constexpr int64_t kRows = 531;
  for (const DataType type : kAlignedWeightTypes) {
    Random random(11);
    const TestWeight weight(random, {type, 576, 256});
    const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, DataType::kBFloat16);
    const Tensor x = RandomTensor(random, DataType::kBFloat16, kRows, 256);
    Tensor all(DataType::kFloat32, kRows, 576);
    ops().Linear({x.view, packed.get(), all.view});
    for (int64_t begin = 0; begin < kRows; begin += 53) {
      const int64_t count = std::min<int64_t>(5, kRows - begin);
      Tensor part(DataType::kFloat32, count, 576);
      ops().Linear({x.view.Rows(begin, count), packed.get(), part.view});
      for (int64_t r = 0; r < count; ++r) {
        ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r))
            << Name(type) << " row " << begin + r;
      }
    }
  }
}

TEST_P(AlignedShapesConformance, MixturesMatchTheReference) {
  Random random(7);
  for (const int64_t tokens : {1, 5, 40}) {
    CheckMixture({DataType::kFloat8E4M3, 6, 256, 128, 128}, RandomSlots(random, tokens, 3, 6), 0);
    CheckMixture({DataType::kFloat8E4M3, 3, 384, 256, 0}, RandomSlots(random, tokens, 1, 3), 4);
  }
  // One expert has most rows, and some slots are empty.
  Slots slots = RandomSlots(random, 33, 2, 6);
  for (size_t s = 0; s < slots.experts.size(); s += 2) slots.experts[s] = 5;
  for (size_t s = 1; s < slots.experts.size(); s += 5) slots.experts[s] = -1;
  CheckMixture({DataType::kFloat8E4M3, 6, 128, 128, 128}, slots, 0);
}

TEST_P(AlignedShapesConformance, ATokenDoesNotDependOnWhoSharesItsExperts) {
  Random random(8);
  const Mixture mixture = MakeMixture(random, {DataType::kFloat8E4M3, 4, 256, 128, 128});
  const Slots slots = RandomSlots(random, 70, 2, 4);
  const Tensor x = RandomTensor(random, DataType::kBFloat16, 70, 256);
  const Tensor all = RunMixture(ops(), mixture, slots, x.view, 0);
  for (const int64_t count : {1, 3, 20}) {
    for (int64_t begin = 0; begin + count <= 70; begin += 23) {
      const Tensor part =
          RunMixture(ops(), mixture, slots.Rows(begin, count), x.view.Rows(begin, count), 0);
      for (int64_t r = 0; r < count; ++r) {
        ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r)) << "token " << begin + r;
      }
    }
  }
}

TEST_P(AlignedShapesConformance, DenseNetworksMatchTheReference) {
  Random random(9);
  const Network network(random, DataType::kFloat8E4M3, 256, 384, 0);
  for (const int64_t rows : {1, 11, 70}) {
    for (const int64_t gap : {0, 4}) {
      const Tensor x = RandomTensor(random, DataType::kBFloat16, rows, 256);
      Tensor outs[2] = {Tensor(DataType::kFloat32, rows, 256),
                        Tensor(DataType::kFloat32, rows, 256, gap)};
      Ops* devices[2] = {&reference(), &ops()};
      for (int d = 0; d < 2; ++d) {
        const PackedNetwork packed(*devices[d], network, DataType::kBFloat16);
        devices[d]->FeedForward({x.view, packed.weights(), outs[d].view});
      }
      EXPECT_LE(RelativeL2(outs[1].view, outs[0].view), ToleranceIn(DataType::kBFloat16));
      if (!quantises()) continue;
      EXPECT_LE(RelativeL2(outs[1].view, ExpectedNetwork(network, x.view).view),
                kQuantisedNetworkTolerance)
          << rows << " rows";
    }
  }
}

// Against the reference and nothing else.
class WideShapesAgainstReference : public AlignedShapesConformance {};

TEST_P(WideShapesAgainstReference, ALargeMixtureOfOneRankOfR1MatchesTheReference) {
  static const WideMixture wide(reference());
  for (int i = 0; i < 2; ++i) {
    const DataType type = kWideComputeTypes[i];
    const PackedMixture packed(ops(), wide.mixture, type);
    const bool rounds = quantises() && type == DataType::kBFloat16;
    const Tensor rounded =
        rounds ? ExpectedMixture(wide.mixture, wide.slots, wide.x[i].view) : Tensor();
    for (int64_t rows = 1; rows <= WideMixture::kRows; ++rows) {
      const Tensor actual =
          RunMixture(ops(), packed, wide.slots.Rows(0, rows), wide.x[i].view.Rows(0, rows), 4);
      EXPECT_LE(RelativeL2(actual.view, wide.expected[i].view.Rows(0, rows)), ToleranceIn(type))
          << rows << " rows in " << Name(type);
      if (!rounds) continue;
      EXPECT_LE(RelativeL2(actual.view, rounded.view.Rows(0, rows)), kQuantisedNetworkTolerance)
          << rows << " rows";
    }
  }
}

TEST_P(WideShapesAgainstReference, ALargeDenseNetworkOfOneRankOfR1MatchesTheReference) {
  static const WideNetwork wide(reference());
  for (int i = 0; i < 2; ++i) {
    const DataType type = kWideComputeTypes[i];
    const PackedNetwork packed(ops(), wide.network, type);
    const bool rounds = quantises() && type == DataType::kBFloat16;
    const Tensor rounded = rounds ? ExpectedNetwork(wide.network, wide.x[i].view) : Tensor();
    for (int64_t rows = 1; rows <= WideNetwork::kRows; ++rows) {
      Tensor actual(DataType::kFloat32, rows, kWideHidden, 4);
      ops().FeedForward({wide.x[i].view.Rows(0, rows), packed.weights(), actual.view});
      EXPECT_LE(RelativeL2(actual.view, wide.expected[i].view.Rows(0, rows)), ToleranceIn(type))
          << rows << " rows in " << Name(type);
      if (!rounds) continue;
      EXPECT_LE(RelativeL2(actual.view, rounded.view.Rows(0, rows)), kQuantisedNetworkTolerance)
          << rows << " rows";
    }
  }
}

BATON_CONFORMANCE_TESTS(AlignedShapesConformance);
BATON_COMPARISON_TESTS(WideShapesAgainstReference);

}  // namespace
}  // namespace baton::kernels
