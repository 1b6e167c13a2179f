#include "common/tensor/tensor_view.h"

#include <array>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(TensorView, FindsRowsAndColumns) {
  std::array<float, 12> numbers{};
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  const TensorView view = View(numbers.data(), 3, 4);
  EXPECT_EQ(view.Row<float>(2)[3], 11.0f);
  const TensorView part = view.Rows(1, 2).Columns(2, 2);
  EXPECT_EQ(part.rows, 2);
  EXPECT_EQ(part.columns, 2);
  EXPECT_EQ(part.row_stride, 4);
  EXPECT_EQ(part.Row<float>(0)[0], 6.0f);
  EXPECT_EQ(part.Row<float>(1)[1], 11.0f);
  EXPECT_EQ(part.num_elements(), 4);
}

TEST(TensorView, KnowsEmptiness) {
  EXPECT_TRUE(TensorView{}.empty());
  std::array<BFloat16, 2> numbers{};
  EXPECT_FALSE(View(numbers.data(), 1, 2).empty());
  EXPECT_TRUE(View(numbers.data(), 1, 2).Rows(1, 0).empty());
}

TEST(TensorView, SteppingUsesTheElementSize) {
  std::array<Float8E4M3, 6> bytes{};
  const TensorView view = View(bytes.data(), 2, 3);
  EXPECT_EQ(view.Rows(1, 1).data, bytes.data() + 3);
  EXPECT_EQ(view.Columns(2, 1).data, bytes.data() + 2);
}

TEST(TensorViewDeathTest, RefusesTheWrongTypeAndRange) {
  std::array<float, 4> numbers{};
  const TensorView view = View(numbers.data(), 2, 2);
  EXPECT_DEATH(view.Row<BFloat16>(0), "view of F32");
  EXPECT_DEATH(view.Rows(1, 2), "broken invariant");
  EXPECT_DEATH(view.Columns(-1, 1), "broken invariant");
}

}  // namespace
}  // namespace baton
