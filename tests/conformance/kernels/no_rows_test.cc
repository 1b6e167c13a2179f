// Calls without a row, in both types: no work, and nothing that lies where rows would is touched.
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/networks.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kNoRowsTypes[] = {DataType::kFloat32, DataType::kBFloat16};

class NoRowsConformance : public ConformanceTest {
 protected:
  void TearDown() override {
    for (size_t i = 0; i < memory_.size(); ++i) {
      EXPECT_TRUE(SameBits(memory_[i].view, before_[i].view)) << "tensor " << i << " was written";
    }
  }
  // Two rows that no call may change.
  const TensorView& TwoRows(DataType type, int64_t columns) {
    memory_.push_back(RandomTensor(random_, type, 2, columns));
    before_.push_back(BytesOf(memory_.back().view));
    return memory_.back().view;
  }
  // The none before them.
  TensorView None(DataType type, int64_t columns) { return TwoRows(type, columns).Rows(0, 0); }
  // Odd ones with weights of every type, and one that fast kernels are made for.
  static std::vector<MixtureShape> NetworkShapes() {
    return {{DataType::kFloat32, 3, 33, 17, 19, 5},
            {DataType::kBFloat16, 3, 33, 17, 19, 5},
            {DataType::kFloat8E4M3, 3, 33, 17, 19, 5},
            {DataType::kFloat8E4M3, 3, 256, 128, 128, 0}};
  }

  Random random_{11};

 private:
  std::deque<Tensor> memory_;
  std::deque<Tensor> before_;
};

TEST_P(NoRowsConformance, AddsNothing) {
  const TensorView weight = TwoRows(DataType::kFloat32, 50).Rows(0, 1);
  for (DataType type : kNoRowsTypes) {
    const TensorView residual = None(type, 50);
    const TensorView delta = None(DataType::kFloat32, 50);
    ops().Add({residual, delta, residual});
    ops().Add({residual, delta, None(type, 50)});
    ops().AddRmsNorm({residual, delta, weight, 1e-6f, None(type, 50)});
  }
}

TEST_P(NoRowsConformance, EmbedsNothing) {
  for (DataType type : kNoRowsTypes) {
    ops().Embed({{}, TwoRows(type, 33), 0, None(DataType::kFloat32, 33)});
  }
}

TEST_P(NoRowsConformance, TurnsNothing) {
  for (DataType type : kNoRowsTypes) {
    ops().Rope({None(type, 3 * 48), 3, 48, 16, {}, TwoRows(DataType::kFloat32, 16)});
  }
}

TEST_P(NoRowsConformance, MultipliesNothingByHeads) {
  for (DataType type : kNoRowsTypes) {
    for (DataType weight_type : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat8E4M3}) {
      std::vector<std::unique_ptr<PackedWeight>> owned;
      std::vector<const PackedWeight*> weights;
      for (int head = 0; head < 3; ++head) {
        const TestWeight weight(random_, {weight_type, 33, 32});
        owned.push_back(ops().Pack(weight.matrix, type));
        weights.push_back(owned.back().get());
      }
      for (int64_t stride : {0, 48}) {
        ops().HeadwiseLinear({None(type, 3 * 48), stride, weights, None(type, 3 * 33)});
      }
    }
  }
}

TEST_P(NoRowsConformance, AppliesNoNetwork) {
  for (DataType type : kNoRowsTypes) {
    for (const MixtureShape& shape : NetworkShapes()) {
      const Network network(random_, shape.type, shape.hidden, shape.intermediate, shape.offset);
      const PackedNetwork packed(ops(), network, type);
      ops().FeedForward(
          {None(type, shape.hidden), packed.weights(), None(DataType::kFloat32, shape.hidden)});
    }
  }
}

TEST_P(NoRowsConformance, MixesNothing) {
  for (DataType type : kNoRowsTypes) {
    for (const MixtureShape& shape : NetworkShapes()) {
      const Mixture mixture = MakeMixture(random_, shape);
      const PackedMixture packed(ops(), mixture, type);
      for (const FeedForwardWeights& shared : {packed.shared, FeedForwardWeights{}}) {
        ops().Experts({None(type, shape.hidden),
                       {},
                       {},
                       2,
                       packed.experts,
                       shared,
                       None(DataType::kFloat32, shape.hidden)});
      }
    }
  }
}

TEST_P(NoRowsConformance, WritesNothingToTheCache) {
  for (DataType type : kNoRowsTypes) {
    for (const TensorView& rotary_table : {TensorView{}, TwoRows(DataType::kFloat32, 16)}) {
      ops().KvWrite(
          {None(type, 64), None(type, 16), {}, {TwoRows(type, 80), 64, 16}, rotary_table});
    }
  }
}

TEST_P(NoRowsConformance, AttendsToNothing) {
  for (DataType type : kNoRowsTypes) {
    MlaAttentionArgs args;
    args.q_latent = None(type, 2 * 64);
    args.q_rope = None(type, 2 * 16);
    args.heads = 2;
    args.cache = {TwoRows(type, 80), 64, 16};
    args.out = None(type, 2 * 64);
    ops().MlaAttention(args);
  }
}

TEST_P(NoRowsConformance, DrawsAndScoresNothing) {
  std::vector<SampleResult> results(1);
  results[0].token_id = 77;
  const std::span<SampleResult> none = std::span(results).first(0);
  ops().Sample({None(DataType::kFloat32, 129280), {}, none});
  ops().ScoreTokens({None(DataType::kFloat32, 129280), {}, 5, none});
  EXPECT_EQ(results[0].token_id, 77u);
  EXPECT_TRUE(results[0].top.empty());
}

BATON_CONFORMANCE_TESTS(NoRowsConformance);

}  // namespace
}  // namespace baton::kernels
