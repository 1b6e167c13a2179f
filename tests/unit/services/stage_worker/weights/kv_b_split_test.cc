#include "services/stage_worker/weights/kv_b_split.h"

#include <vector>

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

TEST(SplitKvB, TransposesTheKeyHalfAndKeepsTheValueHalf) {
  // 2 heads of 2 nope rows and 1 value row, 3 latent columns: element = 10 * row + column.
  std::vector<float> values;
  for (int row = 0; row < 6; ++row) {
    for (int column = 0; column < 3; ++column) values.push_back(10.0f * row + column);
  }
  const kernels::WeightMatrix kv_b{.values = View(values.data(), 6, 3)};
  const KvBHead head = SplitKvB(kv_b, {2, 2, 1, 3}, 1, DataType::kFloat32);
  ASSERT_EQ(head.w_uk.rows, 3);
  ASSERT_EQ(head.w_uk.columns, 2);
  for (int column = 0; column < 3; ++column) {
    EXPECT_EQ(head.w_uk.Row<float>(column)[0], 30.0f + column);
    EXPECT_EQ(head.w_uk.Row<float>(column)[1], 40.0f + column);
    EXPECT_EQ(head.w_k.Row<float>(0)[column], 30.0f + column);
    EXPECT_EQ(head.w_k.Row<float>(1)[column], 40.0f + column);
    EXPECT_EQ(head.w_uv.Row<float>(0)[column], 50.0f + column);
  }
}

TEST(SplitKvB, ScalesBlocksFromWhereTheShardBegins) {
  // 4 x 4 ones in FP8; the shard begins at (1, 1) of 2 x 2 blocks.
  std::vector<Float8E4M3> ones(16, Float8E4M3{0x38});
  ASSERT_EQ(ToFloat(ones[0]), 1.0f);
  std::vector<float> scales = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const kernels::WeightMatrix kv_b{.values = View(ones.data(), 4, 4),
                                   .scales = View(scales.data(), 3, 3),
                                   .block_size = 2,
                                   .row_offset = 1,
                                   .column_offset = 1};
  const KvBHead head = SplitKvB(kv_b, {1, 2, 2, 4}, 0, DataType::kFloat32);
  const std::vector<float> first_row = {1, 2, 2, 3};
  const std::vector<float> second_row = {4, 5, 5, 6};
  const std::vector<float> last_row = {7, 8, 8, 9};
  for (int column = 0; column < 4; ++column) {
    EXPECT_EQ(head.w_uk.Row<float>(column)[0], first_row[column]);
    EXPECT_EQ(head.w_uk.Row<float>(column)[1], second_row[column]);
    EXPECT_EQ(head.w_uv.Row<float>(0)[column], second_row[column]);
    EXPECT_EQ(head.w_uv.Row<float>(1)[column], last_row[column]);
  }
}

TEST(SplitKvB, RoundsOnceToBFloat16) {
  std::vector<Float8E4M3> values(2, Float8E4M3{0x39});  // 1.125
  std::vector<float> scales = {1.0f + 0x1p-8f};
  const kernels::WeightMatrix kv_b{.values = View(values.data(), 2, 1),
                                   .scales = View(scales.data(), 1, 1)};
  const KvBHead head = SplitKvB(kv_b, {1, 1, 1, 1}, 0, DataType::kBFloat16);
  const BFloat16 expected = ToBFloat16(1.125f * (1.0f + 0x1p-8f));
  EXPECT_EQ(head.w_uk.Row<BFloat16>(0)[0], expected);
  EXPECT_EQ(head.w_k.Row<BFloat16>(0)[0], expected);
  EXPECT_EQ(head.w_uv.Row<BFloat16>(0)[0], expected);
}

}  // namespace
}  // namespace baton::stage
