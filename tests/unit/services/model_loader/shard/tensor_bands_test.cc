#include "services/model_loader/shard/tensor_bands.h"

#include <gtest/gtest.h>

namespace baton::loader {
namespace {

// 100 rows of 64 one-byte columns at byte 1000 of the file.
StoredTensor Tensor() { return {"t", "U8", {100, 64}, 0, 1000, 6400}; }

CheckedSlice Slice(const StoredTensor& tensor, uint64_t row_begin, uint64_t row_end,
                   uint64_t column_begin, uint64_t column_end) {
  return {&tensor, tensor.shape[1], 1, row_begin, row_end, column_begin, column_end};
}

ReadPlanOptions Options(uint64_t job_bytes, uint64_t page_bytes) {
  ReadPlanOptions options;
  options.job_bytes = job_bytes;
  options.page_bytes = page_bytes;
  return options;
}

TEST(TensorBands, WholeTensorIsOneRange) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice all = Slice(tensor, 0, 100, 0, 64);
  const auto bands = CutIntoBands({{0, 0, 0, &all}}, Options(1 << 20, 4096));
  ASSERT_EQ(bands.size(), 1u);
  ASSERT_EQ(bands[0].ranges.size(), 1u);
  EXPECT_EQ(bands[0].ranges[0].file_offset, 1000u);
  EXPECT_EQ(bands[0].ranges[0].length, 6400u);
  ASSERT_EQ(bands[0].deliveries.size(), 1u);
  EXPECT_TRUE(bands[0].deliveries[0].contiguous());
}

TEST(TensorBands, ColumnsOfAllRanksShareOneRead) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice left = Slice(tensor, 0, 100, 0, 32);
  const CheckedSlice right = Slice(tensor, 0, 100, 32, 64);
  const auto bands = CutIntoBands({{0, 0, 0, &left}, {1, 0, 0, &right}}, Options(1 << 20, 1));
  ASSERT_EQ(bands.size(), 1u);
  EXPECT_EQ(bands[0].ranges.size(), 1u);
  EXPECT_EQ(bands[0].buffer_bytes, 6400u);
  ASSERT_EQ(bands[0].deliveries.size(), 2u);
  EXPECT_EQ(bands[0].deliveries[1].buffer_offset, 32u);
  EXPECT_EQ(bands[0].deliveries[1].stride, 64u);
  EXPECT_EQ(bands[0].deliveries[1].run_bytes, 32u);
}

TEST(TensorBands, LongColumnsThatSharesMakeUpAreDealtOut) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice left = Slice(tensor, 0, 100, 0, 24);
  const CheckedSlice right = Slice(tensor, 0, 100, 24, 64);
  ReadPlanOptions options = Options(1 << 20, 1);
  options.min_part_bytes = 24;
  const auto bands = CutIntoBands({{0, 0, 3, &right}, {1, 0, 2, &left}}, options);
  ASSERT_EQ(bands.size(), 1u);
  ASSERT_EQ(bands[0].ranges.size(), 1u);
  const FileRange& range = bands[0].ranges[0];
  EXPECT_EQ(range.file_offset, 1000u);
  EXPECT_EQ(range.length, 6400u);
  ASSERT_EQ(range.parts.size(), 2u);
  EXPECT_EQ(range.parts[0].bytes, 24u);
  EXPECT_EQ(range.parts[0].buffer_offset, 0u);
  EXPECT_EQ(range.parts[1].bytes, 40u);
  EXPECT_EQ(range.parts[1].buffer_offset, 2400u);
  EXPECT_EQ(bands[0].buffer_bytes, 6400u);
  EXPECT_EQ(bands[0].order, 2u);
  for (const Delivery& delivery : bands[0].deliveries) EXPECT_TRUE(delivery.contiguous());
}

TEST(TensorBands, ColumnsThatAreShortOverlapOrLeaveGapsAreNotDealtOut) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice left = Slice(tensor, 0, 100, 0, 24);
  const CheckedSlice right = Slice(tensor, 0, 100, 24, 64);
  const CheckedSlice overlapping = Slice(tensor, 0, 100, 23, 64);
  const CheckedSlice short_of_it = Slice(tensor, 0, 100, 24, 63);
  ReadPlanOptions options = Options(1 << 20, 4096);
  options.min_part_bytes = 24;
  for (const CheckedSlice* other : {&overlapping, &short_of_it, &left}) {
    const auto bands = CutIntoBands({{0, 0, 0, &left}, {1, 0, 0, other}}, options);
    EXPECT_TRUE(bands[0].ranges[0].parts.empty());
  }
  options.min_part_bytes = 25;
  const auto bands = CutIntoBands({{0, 0, 0, &left}, {1, 0, 0, &right}}, options);
  EXPECT_TRUE(bands[0].ranges[0].parts.empty());
}

TEST(TensorBands, LoneColumnsAreReadRowByRow) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice middle = Slice(tensor, 10, 20, 16, 32);
  const auto bands = CutIntoBands({{0, 0, 0, &middle}}, Options(1 << 20, 1));
  ASSERT_EQ(bands.size(), 1u);
  ASSERT_EQ(bands[0].ranges.size(), 10u);
  EXPECT_EQ(bands[0].ranges[1].file_offset, 1000u + 11 * 64 + 16);
  EXPECT_EQ(bands[0].ranges[1].length, 16u);
  EXPECT_EQ(bands[0].buffer_bytes, 160u);
  EXPECT_TRUE(bands[0].deliveries[0].contiguous());
}

TEST(TensorBands, GapsShorterThanAPageAreReadThrough) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice middle = Slice(tensor, 10, 20, 16, 32);
  const auto bands = CutIntoBands({{0, 0, 0, &middle}}, Options(1 << 20, 4096));
  ASSERT_EQ(bands.size(), 1u);
  EXPECT_EQ(bands[0].ranges.size(), 1u);
  EXPECT_EQ(bands[0].buffer_bytes, 9u * 64 + 16);
  EXPECT_EQ(bands[0].needed_bytes, 160u);
}

TEST(TensorBands, RowsAreCutWhereTheWantsChange) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice upper = Slice(tensor, 0, 60, 0, 64);
  const CheckedSlice lower = Slice(tensor, 40, 100, 0, 64);
  const auto bands = CutIntoBands({{0, 0, 0, &upper}, {1, 0, 0, &lower}}, Options(1 << 20, 4096));
  ASSERT_EQ(bands.size(), 3u);
  EXPECT_EQ(bands[0].deliveries.size(), 1u);
  EXPECT_EQ(bands[1].deliveries.size(), 2u);
  EXPECT_EQ(bands[1].deliveries[1].slice_offset, 0u);
  EXPECT_EQ(bands[2].deliveries[0].slice_offset, 20u * 64);
}

TEST(TensorBands, RowsLongerThanAReadAreCut) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice row = Slice(tensor, 3, 4, 0, 64);
  const auto bands = CutIntoBands({{0, 0, 0, &row}}, Options(24, 4096));
  ASSERT_EQ(bands.size(), 3u);
  EXPECT_EQ(bands[1].ranges[0].file_offset, 1000u + 3 * 64 + 24);
  EXPECT_EQ(bands[1].deliveries[0].slice_offset, 24u);
  EXPECT_EQ(bands[2].buffer_bytes, 16u);
}

TEST(TensorBands, KnowTheSoonestOrder) {
  const StoredTensor tensor = Tensor();
  const CheckedSlice all = Slice(tensor, 0, 100, 0, 64);
  const auto bands = CutIntoBands({{0, 9, 9, &all}, {1, 4, 4, &all}}, Options(1 << 20, 4096));
  EXPECT_EQ(bands[0].order, 4u);
}

}  // namespace
}  // namespace baton::loader
