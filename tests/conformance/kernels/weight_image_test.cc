#include "kernels/api/weight_image.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/copied_image.h"
#include "tests/conformance/kernels/networks.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kImageComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr DataType kImageWeightTypes[] = {DataType::kFloat32, DataType::kBFloat16,
                                          DataType::kFloat8E4M3};

class WeightImageConformance : public ConformanceTest {
 protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    other_ = MakeBackend()->CreateTeam(1, 1).value();
  }
  bool exports() { return !ops().packing().empty(); }
  // Another device of the same packing, as another process has.
  Ops& other() { return *other_.devices[0].ops; }

  // What the other device makes of a copy of the weight's bytes, which the weight alone keeps.
  std::unique_ptr<PackedWeight> Adopted(const PackedWeight& weight) {
    EXPECT_EQ(other().packing(), ops().packing());
    const CopiedImage copy(ops().Export(weight));
    auto adopted = other().Adopt(copy.image, copy.owner());
    EXPECT_TRUE(adopted.ok()) << adopted.status();
    if (!adopted.ok()) return nullptr;
    EXPECT_EQ((*adopted)->n(), weight.n());
    EXPECT_EQ((*adopted)->k(), weight.k());
    EXPECT_EQ((*adopted)->bytes(), weight.bytes());
    return *std::move(adopted);
  }
  PackedNetwork Adopted(PackedNetwork network) {
    for (std::unique_ptr<PackedWeight>* weight : {&network.gate, &network.up, &network.down}) {
      *weight = Adopted(**weight);
    }
    return network;
  }

  static Tensor Product(Ops& on, const PackedWeight& weight, const TensorView& x) {
    Tensor out(DataType::kFloat32, x.rows, weight.n());
    on.Linear({x, &weight, out.view});
    return out;
  }

  void CheckRoundTrip(const WeightShape& shape, DataType compute_type) {
    Random random(static_cast<uint32_t>(shape.n * 7 + shape.k));
    const TestWeight weight(random, shape);
    const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, compute_type);
    const std::unique_ptr<PackedWeight> adopted = Adopted(*packed);
    ASSERT_NE(adopted, nullptr);
    for (const int64_t m : {1, 5, 40}) {
      const Tensor x = RandomTensor(random, compute_type, m, shape.k);
      EXPECT_TRUE(
          SameBits(Product(other(), *adopted, x.view).view, Product(ops(), *packed, x.view).view))
          << Name(shape.type) << " " << m << " x " << shape.n << " x " << shape.k << " in "
          << Name(compute_type);
    }
  }

  absl::StatusCode AdoptCode(const WeightImage& image) {
    return ops().Adopt(image, nullptr).status().code();
  }

 private:
  Team other_;
};

TEST_P(WeightImageConformance, AdoptedWeightsGiveTheSameBits) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  for (const DataType type : kImageWeightTypes) {
    for (const DataType compute_type : kImageComputeTypes) {
      CheckRoundTrip({type, 48, 256}, compute_type);
      CheckRoundTrip({type, 17, 130}, compute_type);
      CheckRoundTrip({type, 1, 1}, compute_type);
    }
  }
  for (const int64_t offset : {16, 5, 127}) {
    CheckRoundTrip({DataType::kFloat8E4M3, 150, 301, 128, offset, offset}, DataType::kBFloat16);
    CheckRoundTrip({DataType::kFloat8E4M3, 150, 301, 128, offset, offset}, DataType::kFloat32);
  }
}

// Of a size that a backend may hold in another form.
TEST_P(WeightImageConformance, AdoptedLargeWeightsGiveTheSameBits) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  constexpr int64_t kOut = 2048;
  constexpr int64_t kIn = 8192;
  Random random(8);
  const Tensor some = RandomTensor(random, DataType::kBFloat16, 64, kIn, 0.02f);
  const Tensor values(DataType::kBFloat16, kOut, kIn);
  for (int64_t row = 0; row < kOut; row += some.view.rows) {
    const size_t bytes = some.memory.size();
    std::memcpy(values.view.Row<BFloat16>(row), some.view.data, bytes);
  }
  const std::unique_ptr<PackedWeight> packed =
      ops().Pack({.values = values.view}, DataType::kBFloat16);
  const std::unique_ptr<PackedWeight> adopted = Adopted(*packed);
  ASSERT_NE(adopted, nullptr);
  const Tensor x = RandomTensor(random, DataType::kBFloat16, 1, kIn);
  EXPECT_TRUE(
      SameBits(Product(other(), *adopted, x.view).view, Product(ops(), *packed, x.view).view));
}

TEST_P(WeightImageConformance, AdoptsWeightsThatCameInBands) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  Random random(3);
  const TestWeight weight(random, {DataType::kBFloat16, 50, 70});
  std::unique_ptr<PackedWeight> packed;
  for (const int64_t first : {32, 0}) {
    const int64_t rows = first == 0 ? 32 : 18;
    ops().PackBand({weight.matrix.values.Rows(first, rows), first, 50}, DataType::kBFloat16,
                   packed);
  }
  const std::unique_ptr<PackedWeight> adopted = Adopted(*packed);
  ASSERT_NE(adopted, nullptr);
  const Tensor x = RandomTensor(random, DataType::kBFloat16, 3, 70);
  EXPECT_TRUE(
      SameBits(Product(other(), *adopted, x.view).view, Product(ops(), *packed, x.view).view));
}

TEST_P(WeightImageConformance, HeadsOfAdoptedWeightsGiveTheSameBits) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  constexpr int64_t kHeads = 3;
  constexpr int64_t kIn = 40;
  constexpr int64_t kOut = 24;
  Random random(5);
  for (const DataType type : kImageComputeTypes) {
    std::vector<std::unique_ptr<PackedWeight>> owned;
    std::vector<const PackedWeight*> packed;
    std::vector<const PackedWeight*> adopted;
    for (int64_t head = 0; head < kHeads; ++head) {
      const TestWeight weight(random, {DataType::kBFloat16, kOut, kIn});
      packed.push_back(owned.emplace_back(ops().Pack(weight.matrix, type)).get());
      adopted.push_back(owned.emplace_back(Adopted(*packed.back())).get());
    }
    for (const int64_t rows : {1, 5, 33}) {
      const Tensor x = RandomTensor(random, type, rows, kHeads * kIn);
      Tensor expected(type, rows, kHeads * kOut);
      Tensor actual(type, rows, kHeads * kOut);
      ops().HeadwiseLinear({x.view, 0, packed, expected.view});
      other().HeadwiseLinear({x.view, 0, adopted, actual.view});
      EXPECT_TRUE(SameBits(actual.view, expected.view)) << rows << " rows in " << Name(type);
    }
  }
}

TEST_P(WeightImageConformance, AdoptedExpertsGiveTheSameBits) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  constexpr int32_t kExperts = 5;
  Random random(6);
  for (const DataType weight_type : kImageWeightTypes) {
    for (const DataType type : kImageComputeTypes) {
      const Mixture mixture = MakeMixture(random, {weight_type, kExperts, 64, 48, 32, 16});
      for (const int64_t tokens : {1, 33}) {
        const Tensor x = RandomTensor(random, type, tokens, 64);
        const Slots slots = RandomSlots(random, tokens, 2, kExperts);
        const auto run = [&](Ops& on, bool adopts) {
          std::vector<PackedNetwork> networks;
          std::vector<FeedForwardWeights> weights;
          const auto take = [&](const Network& network) {
            PackedNetwork packed(ops(), network, type);
            networks.push_back(adopts ? Adopted(std::move(packed)) : std::move(packed));
            return networks.back().weights();
          };
          for (const Network& network : mixture.experts) weights.push_back(take(network));
          Tensor out(DataType::kFloat32, tokens, 64);
          on.Experts({x.view, slots.experts, slots.weights, slots.top_k, weights,
                      take(mixture.shared[0]), out.view});
          return out;
        };
        EXPECT_TRUE(SameBits(run(other(), true).view, run(ops(), false).view))
            << Name(weight_type) << " in " << Name(type) << ", " << tokens << " tokens";
      }
    }
  }
}

TEST_P(WeightImageConformance, RefusesWhatNoWeightExports) {
  if (!exports()) GTEST_SKIP() << "weights stay on the device";
  Random random(4);
  const TestWeight weight(random, {DataType::kFloat8E4M3, 40, 300, 128, 3, 9});
  const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, DataType::kBFloat16);
  const CopiedImage copy(ops().Export(*packed));
  ASSERT_EQ(AdoptCode(copy.image), absl::StatusCode::kOk);
  std::vector<WeightImage> wrong;
  const auto change = [&]() -> WeightImage& { return wrong.emplace_back(copy.image); };
  for (const int64_t n : {int64_t{-1}, int64_t{80}, INT64_MAX}) change().n = n;
  for (const int64_t k : {int64_t{-5}, int64_t{900}, INT64_MAX}) change().k = k;
  for (size_t i = 0; i < copy.image.pieces.size(); ++i) {
    const std::span<const std::byte> piece = copy.image.pieces[i];
    change().pieces[i] = piece.first(piece.size() - 4);
    change().pieces[i] = {piece.data() + 1, piece.size()};
    change().pieces[i] = {};
  }
  change().pieces.pop_back();
  change().pieces.clear();
  change().pieces.emplace_back();
  for (size_t i = 0; i < copy.image.form.size(); ++i) {
    change().form[i] = -7;
    change().form[i] = INT64_MAX;
  }
  for (size_t i = 0; i < wrong.size(); ++i) {
    EXPECT_EQ(AdoptCode(wrong[i]), absl::StatusCode::kInvalidArgument) << "case " << i;
  }
}

BATON_CONFORMANCE_TESTS(WeightImageConformance);

}  // namespace
}  // namespace baton::kernels
