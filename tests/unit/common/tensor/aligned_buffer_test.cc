#include "common/tensor/aligned_buffer.h"

#include <algorithm>
#include <cstdint>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(AlignedBuffer, IsAlignedAndZeroed) {
  for (const size_t bytes : {1, 63, 64, 65, 4097}) {
    const AlignedBuffer buffer(bytes);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_TRUE(std::all_of(buffer.data(), buffer.data() + bytes,
                            [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

TEST(AlignedBuffer, MayBeEmpty) {
  EXPECT_EQ(AlignedBuffer().size(), 0u);
  EXPECT_EQ(AlignedBuffer(0).data(), nullptr);
}

TEST(AlignedBuffer, GivesAViewThatFits) {
  AlignedBuffer buffer(24);
  const TensorView view = buffer.AsTensor(DataType::kBFloat16, 3, 4);
  EXPECT_EQ(view.rows, 3);
  EXPECT_EQ(view.row_stride, 4);
  EXPECT_EQ(view.data, buffer.data());
}

TEST(AlignedBufferDeathTest, RefusesAViewThatDoesNotFit) {
  AlignedBuffer buffer(24);
  EXPECT_DEATH(buffer.AsTensor(DataType::kFloat32, 3, 4), "3 x 4 in 24 bytes");
}

}  // namespace
}  // namespace baton
