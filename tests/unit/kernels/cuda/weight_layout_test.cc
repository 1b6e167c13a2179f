#include "kernels/cuda/plan/weight_layout.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels::cuda {
namespace {

// Element (i, j) of a packed weight as kernels read it: value and scale, which are 1 if unscaled.
struct PackedElement {
  float value;
  float scale;
};

PackedElement ElementAt(const std::vector<std::byte>& bytes, const WeightLayout& layout, int64_t i,
                        int64_t j) {
  const std::byte* at =
      bytes.data() + (i * layout.value_pitch + j) * static_cast<int64_t>(SizeOf(layout.type));
  PackedElement element = {0.0f, 1.0f};
  if (layout.type == DataType::kFloat32) {
    std::memcpy(&element.value, at, sizeof(float));
  } else if (layout.type == DataType::kBFloat16) {
    BFloat16 value;
    std::memcpy(&value, at, sizeof(value));
    element.value = ToFloat(value);
  } else {
    Float8E4M3 value;
    std::memcpy(&value, at, sizeof(value));
    element.value = ToFloat(value);
    const int64_t row = (layout.row_offset + i) / layout.block;
    const int64_t column = (layout.column_offset + j) / layout.block;
    std::memcpy(&element.scale,
                bytes.data() + layout.scale_offset +
                    static_cast<size_t>(row * layout.scale_pitch + column) * sizeof(float),
                sizeof(float));
  }
  return element;
}

std::vector<std::byte> Packed(const WeightMatrix& weight, const WeightLayout& layout) {
  std::vector<std::byte> bytes(layout.bytes, std::byte{0xa5});
  PackWeight(weight, layout, bytes);
  return bytes;
}

bool SameFloatBits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void ExpectExact(const WeightShape& shape) {
  Random random(static_cast<uint32_t>(shape.n * 7 + shape.k));
  const TestWeight weight(random, shape);
  const WeightMatrix& matrix = weight.matrix;
  const WeightLayout layout = LayOutWeight(matrix, DataType::kBFloat16);
  const std::vector<std::byte> bytes = Packed(matrix, layout);
  for (int64_t i = 0; i < shape.n; ++i) {
    for (int64_t j = 0; j < shape.k; ++j) {
      const PackedElement element = ElementAt(bytes, layout, i, j);
      ASSERT_TRUE(SameFloatBits(element.value, Get(matrix.values, i, j))) << i << ", " << j;
      if (!layout.scaled()) continue;
      const float scale = Get(matrix.scales, (shape.row_offset + i) / shape.block_size,
                              (shape.column_offset + j) / shape.block_size);
      ASSERT_TRUE(SameFloatBits(element.scale, scale)) << i << ", " << j;
    }
  }
}

TEST(WeightLayout, KeepsEveryValueAndScaleOfFloat8Shards) {
  ExpectExact({DataType::kFloat8E4M3, 256, 384});
  ExpectExact({DataType::kFloat8E4M3, 80, 256, 128, 112, 0});
  ExpectExact({DataType::kFloat8E4M3, 150, 301, 128, 5, 127});
  ExpectExact({DataType::kFloat8E4M3, 37, 70, 16, 8, 5});
  ExpectExact({DataType::kFloat8E4M3, 1, 1, 128, 127, 127});
}

TEST(WeightLayout, KeepsBFloat16AsItIs) { ExpectExact({DataType::kBFloat16, 33, 77}); }

TEST(WeightLayout, RoundsFloat32OnceForBFloat16ComputeAndKeepsItForFloat32) {
  Tensor values(DataType::kFloat32, 1, 2);
  Put(values.view, 0, 0, 1.00390625f);  // halfway between two bfloat16: to even, 1
  Put(values.view, 0, 1, -3.0f);
  const WeightMatrix weight = {values.view};
  const WeightLayout rounded = LayOutWeight(weight, DataType::kBFloat16);
  EXPECT_EQ(rounded.type, DataType::kBFloat16);
  EXPECT_EQ(ElementAt(Packed(weight, rounded), rounded, 0, 0).value, 1.0f);
  EXPECT_EQ(ElementAt(Packed(weight, rounded), rounded, 0, 1).value, -3.0f);
  const WeightLayout kept = LayOutWeight(weight, DataType::kFloat32);
  EXPECT_EQ(ElementAt(Packed(weight, kept), kept, 0, 0).value, 1.00390625f);
}

TEST(WeightLayout, PadsRowsToSixteenBytesOfZeros) {
  Random random(3);
  const TestWeight weight(random, {DataType::kFloat8E4M3, 3, 130});
  const WeightLayout layout = LayOutWeight(weight.matrix, DataType::kBFloat16);
  EXPECT_EQ(layout.value_pitch, 144);
  EXPECT_EQ(layout.scale_offset % 256, 0u);
  const std::vector<std::byte> bytes = Packed(weight.matrix, layout);
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 130; j < 144; ++j) {
      EXPECT_EQ(bytes[static_cast<size_t>(i * 144 + j)], std::byte{0});
    }
  }
}

TEST(WeightLayout, PadsRowsOfScalesToFourOfThem) {
  Random random(4);
  const TestWeight down(random, {DataType::kFloat8E4M3, 128, 256});
  EXPECT_EQ(LayOutWeight(down.matrix, DataType::kBFloat16).scale_pitch, 4);
  const TestWeight dense(random, {DataType::kFloat8E4M3, 128, 2304});
  const WeightLayout layout = LayOutWeight(dense.matrix, DataType::kBFloat16);
  EXPECT_EQ(layout.column_blocks, 18);
  EXPECT_EQ(layout.scale_pitch, 20);
}

TEST(WeightLayout, SaysWhereScaleBlocksAreWhole) {
  Random random(5);
  const auto whole = [&](const WeightShape& shape) {
    const TestWeight weight(random, shape);
    return LayOutWeight(weight.matrix, DataType::kBFloat16).has_whole_blocks();
  };
  EXPECT_TRUE(whole({DataType::kFloat8E4M3, 2112, 256}));
  EXPECT_FALSE(whole({DataType::kFloat8E4M3, 256, 256, 128, 64, 0}));
  EXPECT_FALSE(whole({DataType::kFloat8E4M3, 256, 256, 128, 0, 64}));
  EXPECT_FALSE(whole({DataType::kFloat8E4M3, 256, 256, 64, 0, 0}));
  EXPECT_FALSE(whole({DataType::kBFloat16, 256, 256}));
}

}  // namespace
}  // namespace baton::kernels::cuda
