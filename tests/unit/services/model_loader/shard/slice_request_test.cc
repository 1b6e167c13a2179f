#include "services/model_loader/shard/slice_request.h"

#include <gtest/gtest.h>

#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

std::unique_ptr<Checkpoint> OpenDemo() {
  return Checkpoint::Open({std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1"}, {}).value();
}

SliceRequest Head() {
  return {"lm_head.weight", DataType::kBFloat16, {2048, 256}, 256, 512, 0, 256};
}

TEST(CheckSlice, MeasuresTheRectangle) {
  const auto checkpoint = OpenDemo();
  SliceRequest request = Head();
  request.column_begin = 128;
  const auto slice = CheckSlice(*checkpoint, request);
  ASSERT_TRUE(slice.ok()) << slice.status();
  EXPECT_EQ(slice->row_bytes(), 256u);
  EXPECT_EQ(slice->bytes(), 65536u);
  EXPECT_EQ(slice->tensor->name, "lm_head.weight");
}

TEST(CheckSlice, TakesAVectorAsOneRow) {
  const auto checkpoint = OpenDemo();
  SliceRequest request = {"model.norm.weight", DataType::kBFloat16, {256}, 0, 1, 16, 32};
  EXPECT_EQ(CheckSlice(*checkpoint, request)->bytes(), 32u);
  request.row_end = 2;
  EXPECT_EQ(CheckSlice(*checkpoint, request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CheckSlice, RefusesUnknownTensors) {
  SliceRequest request = Head();
  request.name = "nothing";
  const absl::Status status = CheckSlice(*OpenDemo(), request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("nothing"), std::string::npos);
}

TEST(CheckSlice, RefusesAnotherTypeOrShape) {
  const auto checkpoint = OpenDemo();
  SliceRequest request = Head();
  request.type = DataType::kFloat32;
  EXPECT_EQ(CheckSlice(*checkpoint, request).status().code(), absl::StatusCode::kInvalidArgument);
  for (const std::vector<uint64_t>& shape :
       std::vector<std::vector<uint64_t>>{{}, {2048}, {256, 2048}, {2048, 256, 1}, {524288}}) {
    request = Head();
    request.shape = shape;
    EXPECT_EQ(CheckSlice(*checkpoint, request).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(CheckSlice, RefusesRectanglesOutsideOrEmpty) {
  const auto checkpoint = OpenDemo();
  const uint64_t huge = ~uint64_t{0};
  const std::vector<std::vector<uint64_t>> rectangles = {
      {0, 2049, 0, 256}, {2048, 2049, 0, 256}, {5, 5, 0, 256},        {6, 5, 0, 256},
      {0, 1, 0, 257},    {0, 1, 256, 257},     {0, 1, 9, 9},          {0, huge, 0, 256},
      {huge, 1, 0, 256}, {0, 1, huge, huge},   {huge - 1, huge, 0, 1}};
  for (const auto& r : rectangles) {
    SliceRequest request = Head();
    request.row_begin = r[0];
    request.row_end = r[1];
    request.column_begin = r[2];
    request.column_end = r[3];
    const absl::Status status = CheckSlice(*checkpoint, request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("lm_head.weight"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace baton::loader
