// What a worker asks for: rectangles of tensors, checked against the checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/weight_inventory.h"
#include "common/tensor/data_type.h"
#include "services/model_loader/format/checkpoint.h"

namespace baton::loader {

// One slice as asked for. A tensor of one dimension has one row.
struct SliceRequest {
  std::string name;
  DataType type = DataType::kBFloat16;
  std::vector<uint64_t> shape;
  uint64_t row_begin = 0;
  uint64_t row_end = 0;
  uint64_t column_begin = 0;
  uint64_t column_end = 0;
};

// A slice whose every bound has been checked.
struct CheckedSlice {
  const StoredTensor* tensor = nullptr;
  uint64_t tensor_columns = 0;
  uint64_t element_bytes = 0;
  uint64_t row_begin = 0;
  uint64_t row_end = 0;
  uint64_t column_begin = 0;
  uint64_t column_end = 0;

  uint64_t row_bytes() const { return (column_end - column_begin) * element_bytes; }
  uint64_t bytes() const { return (row_end - row_begin) * row_bytes(); }
};

// Errors: NotFound (no such tensor), InvalidArgument (type or shape differs from the checkpoint's,
// rectangle empty or outside of the tensor); both name the tensor. `checkpoint` must outlive the
// result.
absl::StatusOr<CheckedSlice> CheckSlice(const Checkpoint& checkpoint, const SliceRequest& request);

}  // namespace baton::loader
