// Operations that go along rows: norms, additions, embedding, rope.
#include <algorithm>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kRowsComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
// Odd ones, and those of DeepSeek-R1: its queries' latents and its hidden states.
constexpr int64_t kWidths[] = {1, 7, 15, 16, 17, 64, 80, 128, 256, 1000, 1536, 7168};

class RowsConformance : public ConformanceTest {
 protected:
  // 1 ulp of the output type: 2^-7 of the value in bfloat16 at most, 1e-6 in float32.
  static void ExpectWithinUlp(const TensorView& actual, const TensorView& expected) {
    const float relative = expected.type == DataType::kBFloat16 ? 0x1p-7f : 1e-6f;
    for (int64_t r = 0; r < expected.rows; ++r) {
      for (int64_t c = 0; c < expected.columns; ++c) {
        const float value = Get(expected, r, c);
        ASSERT_NEAR(Get(actual, r, c), value, std::abs(value) * relative + 1e-30f)
            << r << ", " << c << " of " << expected.columns;
      }
    }
  }
};

class RowsAgainstReference : public RowsConformance {};

TEST_P(RowsAgainstReference, RmsNormMatchesTheReference) {
  Random random(1);
  for (DataType type : kRowsComputeTypes) {
    for (int64_t width : kWidths) {
      const Tensor x = RandomTensor(random, type, 4, width, 3.0f, 2);
      const Tensor weight = RandomTensor(random, DataType::kFloat32, 1, width);
      Tensor expected(type, 4, width);
      Tensor actual(type, 4, width, 1);
      reference().RmsNorm({x.view, weight.view, 1e-6f, expected.view});
      ops().RmsNorm({x.view, weight.view, 1e-6f, actual.view});
      ExpectWithinUlp(actual.view, expected.view);
    }
  }
}

TEST_P(RowsConformance, RmsNormWorksInPlaceAndOnNoRows) {
  Random random(2);
  for (DataType type : kRowsComputeTypes) {
    const Tensor x = RandomTensor(random, type, 3, 50);
    const Tensor weight = RandomTensor(random, DataType::kFloat32, 1, 50);
    Tensor expected(type, 3, 50);
    ops().RmsNorm({x.view, weight.view, 1e-6f, expected.view});
    ops().RmsNorm({x.view, weight.view, 1e-6f, x.view});
    EXPECT_TRUE(SameBits(x.view, expected.view));
    const Tensor none(type, 0, 50);
    ops().RmsNorm({none.view, weight.view, 1e-6f, none.view});
  }
}

TEST_P(RowsAgainstReference, AddRmsNormMatchesTheReference) {
  Random random(3);
  for (DataType type : kRowsComputeTypes) {
    for (int64_t width : kWidths) {
      const Tensor residual = RandomTensor(random, type, 3, width);
      const Tensor delta = RandomTensor(random, DataType::kFloat32, 3, width);
      const Tensor weight = RandomTensor(random, DataType::kFloat32, 1, width);
      Tensor sums[2] = {CopyOf(residual.view), CopyOf(residual.view)};
      Tensor outs[2] = {Tensor(type, 3, width), Tensor(type, 3, width)};
      reference().AddRmsNorm({sums[0].view, delta.view, weight.view, 1e-6f, outs[0].view});
      ops().AddRmsNorm({sums[1].view, delta.view, weight.view, 1e-6f, outs[1].view});
      EXPECT_TRUE(SameBits(sums[1].view, sums[0].view)) << "one rounding";
      ExpectWithinUlp(outs[1].view, outs[0].view);
    }
  }
}

TEST_P(RowsConformance, AddRoundsOnce) {
  Random random(4);
  for (DataType type : kRowsComputeTypes) {
    for (int64_t width : kWidths) {
      const Tensor residual = RandomTensor(random, type, 3, width);
      const Tensor delta = RandomTensor(random, DataType::kFloat32, 3, width);
      Tensor expected(type, 3, width);
      reference().Add({residual.view, delta.view, expected.view});
      ops().Add({residual.view, delta.view, residual.view});
      EXPECT_TRUE(SameBits(residual.view, expected.view));
    }
  }
}

TEST_P(RowsConformance, RoundingToBFloat16IsToNearestEvenAndKeepsNan) {
  constexpr int64_t kCount = 37;
  Tensor delta(DataType::kFloat32, 1, kCount);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const float values[] = {1.00390625f, 1.01171875f, 1.0039064f, -1.00390625f, 3.4e38f,
                          nan,         infinity,    -infinity,  1e-40f,       0.0f};
  for (int64_t i = 0; i < kCount; ++i) Put(delta.view, 0, i, values[i % 10]);
  const Tensor zero(DataType::kBFloat16, 1, kCount);
  Tensor out(DataType::kBFloat16, 1, kCount);
  ops().Add({zero.view, delta.view, out.view});
  for (int64_t i = 0; i < kCount; ++i) {
    const float expected = ToFloat(ToBFloat16(Get(delta.view, 0, i)));
    const float actual = Get(out.view, 0, i);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << i;
    } else {
      EXPECT_EQ(actual, expected) << i;
    }
  }
}

TEST_P(RowsConformance, NormsDoNotDependOnOtherRows) {
  Random random(5);
  for (DataType type : kRowsComputeTypes) {
    const Tensor x = RandomTensor(random, type, 300, 777);
    const Tensor weight = RandomTensor(random, DataType::kFloat32, 1, 777);
    Tensor all(type, 300, 777);
    ops().RmsNorm({x.view, weight.view, 1e-6f, all.view});
    for (int64_t row = 0; row < 300; row += 7) {
      Tensor one(type, 1, 777);
      ops().RmsNorm({x.view.Rows(row, 1), weight.view, 1e-6f, one.view});
      ASSERT_TRUE(SameBits(one.view, 0, all.view, row));
    }
  }
}

TEST_P(RowsConformance, EmbedTakesItsShardsRowsAndZerosElsewhere) {
  Random random(6);
  for (DataType type : kRowsComputeTypes) {
    const Tensor table = RandomTensor(random, type, 10, 33);
    const std::vector<uint32_t> ids = {20, 29, 19, 30, 25, 0, 4000000000u};
    Tensor out = RandomTensor(random, DataType::kFloat32, 7, 33);
    ops().Embed({ids, table.view, 20, out.view});
    for (int64_t t = 0; t < 7; ++t) {
      const bool here = ids[t] >= 20 && ids[t] < 30;
      for (int64_t c = 0; c < 33; ++c) {
        EXPECT_EQ(Get(out.view, t, c), here ? Get(table.view, ids[t] - 20, c) : 0.0f);
      }
    }
  }
}

TEST_P(RowsConformance, EmbedsRowsAsWideAsThoseOfR1) {
  constexpr int64_t kWidth = 7168;
  Random random(8);
  for (DataType type : kRowsComputeTypes) {
    const Tensor table = RandomTensor(random, type, 50, kWidth);
    std::vector<uint32_t> ids;
    for (uint32_t t = 0; t < 40; ++t) ids.push_back(990 + t * 7 % 60);  // some are of other shards
    const Tensor before = RandomTensor(random, DataType::kFloat32, 40, kWidth);
    const Tensor expected = CopyOf(before.view);
    const Tensor actual = CopyOf(before.view);
    reference().Embed({ids, table.view, 1000, expected.view});
    ops().Embed({ids, table.view, 1000, actual.view});
    EXPECT_TRUE(SameBits(actual.view, expected.view)) << Name(type);
  }
}

TEST_P(RowsAgainstReference, RopeMatchesTheReferenceBitForBit) {
  Random random(7);
  const Tensor table = RandomTensor(random, DataType::kFloat32, 100, 16);
  const std::vector<int32_t> positions = {0, 99, 5, 5};
  for (DataType type : kRowsComputeTypes) {
    const Tensor x = RandomTensor(random, type, 4, 3 * 48 + 9);
    Tensor expected = CopyOf(x.view);
    // Heads of 48 columns, the last 16 of each rotated.
    const TensorView part = x.view.Columns(32, 2 * 48 + 16);
    reference().Rope({expected.view.Columns(32, 2 * 48 + 16), 3, 48, 16, positions, table.view});
    ops().Rope({part, 3, 48, 16, positions, table.view});
    EXPECT_TRUE(SameBits(x.view, expected.view));
  }
}

TEST_P(RowsAgainstReference, RopeMatchesTheReferenceAtOtherSizes) {
  struct Sizes {
    int64_t rows;
    int64_t heads;
    int64_t head_stride;
    int64_t dims;
  };
  for (const Sizes& sizes : {Sizes{3, 1, 2, 2}, Sizes{5, 3, 11, 6}, Sizes{1, 16, 6, 6},
                             Sizes{7, 5, 64, 64}, Sizes{2, 3, 75, 64}, Sizes{100, 128, 192, 64}}) {
    Random random(static_cast<uint32_t>(sizes.head_stride));
    const Tensor table = RandomTensor(random, DataType::kFloat32, 500, sizes.dims, 1.0f, 3);
    std::vector<int32_t> positions;
    for (int64_t r = 0; r < sizes.rows; ++r) positions.push_back((r * 37 + 499) % 500);
    const int64_t width = (sizes.heads - 1) * sizes.head_stride + sizes.dims;
    for (DataType type : kRowsComputeTypes) {
      const Tensor before = RandomTensor(random, type, sizes.rows, width + 9);
      const Tensor expected = CopyOf(before.view);
      const Tensor actual = CopyOf(before.view);
      const auto turn = [&](Ops& device, const Tensor& x) {
        device.Rope({x.view.Columns(9, width), sizes.heads, sizes.head_stride, sizes.dims,
                     positions, table.view});
      };
      turn(reference(), expected);
      turn(ops(), actual);
      EXPECT_TRUE(SameBits(actual.view, expected.view))
          << sizes.rows << " rows, " << sizes.heads << " heads of " << sizes.dims << " columns, "
          << sizes.head_stride << " apart, in " << Name(type);
      ASSERT_FALSE(SameBits(expected.view, before.view));
    }
  }
}

TEST_P(RowsConformance, RopeRotatesPairs) {
  Tensor table(DataType::kFloat32, 1, 2);
  Put(table.view, 0, 0, 0.0f);  // cos
  Put(table.view, 0, 1, 1.0f);  // sin: a quarter turn
  Tensor x(DataType::kFloat32, 1, 2);
  Put(x.view, 0, 0, 3.0f);
  Put(x.view, 0, 1, 4.0f);
  const std::vector<int32_t> positions = {0};
  ops().Rope({x.view, 1, 2, 2, positions, table.view});
  EXPECT_EQ(Get(x.view, 0, 0), -4.0f);
  EXPECT_EQ(Get(x.view, 0, 1), 3.0f);
}

TEST_P(RowsConformance, MemoryMovesBothWays) {
  auto buffer = ops().Allocate(100).value();
  const std::vector<char> host(100, 'x');
  std::vector<char> back(100, 'y');
  ops().CopyToHost(back.data(), buffer->data(), 100);
  EXPECT_EQ(back, std::vector<char>(100, 0));
  ops().CopyToDevice(buffer->data(), host.data(), 100);
  ops().CopyToHost(back.data(), buffer->data(), 100);
  ops().Synchronize();
  EXPECT_EQ(back, host);
}

BATON_CONFORMANCE_TESTS(RowsConformance);
BATON_COMPARISON_TESTS(RowsAgainstReference);

}  // namespace
}  // namespace baton::kernels
