// The reference against loops in double precision: what all others are held to must itself stand
// much nearer to the exact result than the tolerances of kernels/api let them stand to it.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kReferenceComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};

class ReferenceArithmetic : public testing::Test {
 protected:
  ReferenceArithmetic() : team_(CreateReferenceBackend()->CreateTeam(1, 1).value()) {}
  Ops& ops() { return *team_.devices[0].ops; }

  // Row by row and column by column.
  using Exact = std::vector<std::vector<double>>;

  // |actual - exact| / |exact| over all elements.
  static double Error(const TensorView& actual, const Exact& exact) {
    double difference = 0.0;
    double norm = 0.0;
    for (int64_t r = 0; r < actual.rows; ++r) {
      for (int64_t c = 0; c < actual.columns; ++c) {
        const double value = exact[static_cast<size_t>(r)][static_cast<size_t>(c)];
        difference += (double{Get(actual, r, c)} - value) * (double{Get(actual, r, c)} - value);
        norm += value * value;
      }
    }
    return std::sqrt(difference / norm);
  }
  // Every element is the exact one rounded to the tensor's type, which costs half a unit of the
  // last place; `slack` of the value is left for what float32 arithmetic costs before that.
  static void ExpectRounded(const TensorView& actual, const Exact& exact, double slack) {
    const double rounding = actual.type == DataType::kBFloat16 ? 0x1p-8 : 0x1p-24;
    for (int64_t r = 0; r < actual.rows; ++r) {
      for (int64_t c = 0; c < actual.columns; ++c) {
        const double value = exact[static_cast<size_t>(r)][static_cast<size_t>(c)];
        ASSERT_NEAR(double{Get(actual, r, c)}, value, std::abs(value) * (rounding + slack))
            << r << ", " << c << " of " << actual.columns << " in " << Name(actual.type);
      }
    }
  }

  static double ValueOf(const WeightMatrix& weight, int64_t row, int64_t column) {
    const double value = Get(weight.values, row, column);
    if (weight.values.type != DataType::kFloat8E4M3) return value;
    return value * Get(weight.scales, (weight.row_offset + row) / weight.block_size,
                       (weight.column_offset + column) / weight.block_size);
  }

  Team team_;
};

TEST_F(ReferenceArithmetic, ProductsAreTheSums) {
  Random random(1);
  for (const WeightShape& shape :
       {WeightShape{DataType::kFloat8E4M3, 40, 7168, 128, 0, 0},
        WeightShape{DataType::kFloat8E4M3, 150, 301, 128, 112, 5},
        WeightShape{DataType::kFloat8E4M3, 37, 70, 16, 8, 5},
        WeightShape{DataType::kBFloat16, 33, 1537}, WeightShape{DataType::kFloat32, 17, 130}}) {
    const TestWeight weight(random, shape);
    for (DataType type : kReferenceComputeTypes) {
      const Tensor x = RandomTensor(random, type, 3, shape.k, 1.0f, 5);
      const std::unique_ptr<PackedWeight> packed = ops().Pack(weight.matrix, type);
      Exact exact(3, std::vector<double>(static_cast<size_t>(shape.n)));
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t i = 0; i < shape.n; ++i) {
          double& sum = exact[static_cast<size_t>(r)][static_cast<size_t>(i)];
          for (int64_t j = 0; j < shape.k; ++j) {
            // Float32 weights are rounded once where the arithmetic is in bfloat16.
            double value = ValueOf(weight.matrix, i, j);
            if (shape.type == DataType::kFloat32 && type == DataType::kBFloat16) {
              value = ToFloat(ToBFloat16(static_cast<float>(value)));
            }
            sum += double{Get(x.view, r, j)} * value;
          }
        }
      }
      Tensor wide(DataType::kFloat32, 3, shape.n, 3);
      ops().Linear({x.view, packed.get(), wide.view});
      EXPECT_LE(Error(wide.view, exact), ProductTolerance(type, DataType::kFloat32) / 10)
          << Name(shape.type) << " " << shape.n << " x " << shape.k << " in " << Name(type);
      Tensor out(type, 3, shape.n);
      ops().Linear({x.view, packed.get(), out.view});
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t i = 0; i < shape.n; ++i) {
          const float rounded = type == DataType::kBFloat16
                                    ? ToFloat(ToBFloat16(Get(wide.view, r, i)))
                                    : Get(wide.view, r, i);
          ASSERT_EQ(Get(out.view, r, i), rounded) << "one rounding";
        }
      }
    }
  }
}

TEST_F(ReferenceArithmetic, NormsAreTheFormula) {
  Random random(2);
  for (DataType type : kReferenceComputeTypes) {
    for (int64_t width : {1, 7, 1000, 1536, 7168}) {
      const Tensor x = RandomTensor(random, type, 3, width, 3.0f, 2);
      const Tensor weight = RandomTensor(random, DataType::kFloat32, 1, width);
      Exact exact(3, std::vector<double>(static_cast<size_t>(width)));
      for (int64_t r = 0; r < 3; ++r) {
        double sum = 0.0;
        for (int64_t c = 0; c < width; ++c) sum += double{Get(x.view, r, c)} * Get(x.view, r, c);
        const double root = std::sqrt(sum / static_cast<double>(width) + double{1e-6f});
        for (int64_t c = 0; c < width; ++c) {
          exact[static_cast<size_t>(r)][static_cast<size_t>(c)] =
              double{Get(x.view, r, c)} / root * double{Get(weight.view, 0, c)};
        }
      }
      Tensor out(type, 3, width);
      ops().RmsNorm({x.view, weight.view, 1e-6f, out.view});
      ExpectRounded(out.view, exact, 2e-7);  // of the 1e-6 that others have
    }
  }
}

TEST_F(ReferenceArithmetic, AttentionIsTheWeightedMean) {
  constexpr int64_t kLatent = 40;
  constexpr int64_t kRope = 6;
  constexpr int64_t kHeads = 2;
  constexpr float kScale = 0.13f;
  for (DataType type : kReferenceComputeTypes) {
    Random random(3);
    constexpr int32_t kBlocks = 20;
    std::vector<int32_t> blocks;
    for (int32_t block = 0; block < kBlocks; ++block) blocks.push_back(block);
    std::shuffle(blocks.begin(), blocks.end(), random);
    const Tensor pages = RandomTensor(random, type, kBlocks * kBlockTokens, kLatent + kRope);
    const std::vector<int32_t> positions = {0, 1, 63, 64, 511, 512, 1200};
    const std::vector<int32_t> sequences(positions.size(), 0);
    const auto rows = static_cast<int64_t>(positions.size());
    const Tensor q_latent = RandomTensor(random, type, rows, kHeads * kLatent);
    const Tensor q_rope = RandomTensor(random, type, rows, kHeads * kRope);
    Exact exact(positions.size(), std::vector<double>(kHeads * kLatent));
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t last = positions[static_cast<size_t>(r)];
      for (int64_t head = 0; head < kHeads; ++head) {
        double* out = &exact[static_cast<size_t>(r)][static_cast<size_t>(head * kLatent)];
        double total = 0.0;
        for (int64_t p = 0; p <= last; ++p) {
          const int64_t slot =
              int64_t{blocks[static_cast<size_t>(p / kBlockTokens)]} * kBlockTokens +
              p % kBlockTokens;
          double score = 0.0;
          for (int64_t c = 0; c < kLatent; ++c) {
            score += double{Get(q_latent.view, r, head * kLatent + c)} * Get(pages.view, slot, c);
          }
          for (int64_t c = 0; c < kRope; ++c) {
            score +=
                double{Get(q_rope.view, r, head * kRope + c)} * Get(pages.view, slot, kLatent + c);
          }
          const double weight = std::exp(score * double{kScale});
          total += weight;
          for (int64_t c = 0; c < kLatent; ++c) out[c] += weight * Get(pages.view, slot, c);
        }
        for (int64_t c = 0; c < kLatent; ++c) out[c] /= total;
      }
    }
    Tensor out(type, rows, kHeads * kLatent);
    MlaAttentionArgs args;
    args.q_latent = q_latent.view;
    args.q_rope = q_rope.view;
    args.heads = kHeads;
    args.scale = kScale;
    args.layout = {positions, sequences, blocks, kBlocks};
    args.cache = {pages.view, kLatent, kRope};
    args.out = out.view;
    ops().MlaAttention(args);
    // Others may be off by 1e-5, in bfloat16 by 1 % of the row's largest element.
    EXPECT_LE(Error(out.view, exact), type == DataType::kFloat32 ? 1e-6 : 0x1p-9) << Name(type);
  }
}

}  // namespace
}  // namespace baton::kernels
