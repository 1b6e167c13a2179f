#include "services/model_loader/shard/slice_request.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace baton::loader {
namespace {

std::string Describe(absl::string_view type, const std::vector<uint64_t>& shape) {
  return absl::StrCat(type, " [", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

absl::StatusOr<CheckedSlice> CheckSlice(const Checkpoint& checkpoint, const SliceRequest& request) {
  const StoredTensor* tensor = checkpoint.Find(request.name);
  const std::string shown = absl::CHexEscape(absl::string_view(request.name).substr(0, 120));
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat("the checkpoint has no tensor \"", shown, "\""));
  }
  if (tensor->type != Name(request.type) || tensor->shape != request.shape ||
      request.shape.empty() || request.shape.size() > 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", shown, "\" is ", Describe(tensor->type, tensor->shape),
        " in the checkpoint, but was asked for as ", Describe(Name(request.type), request.shape)));
  }
  const uint64_t rows = request.shape.size() == 1 ? 1 : request.shape[0];
  const uint64_t columns = request.shape.back();
  const bool inside = request.row_begin < request.row_end && request.row_end <= rows &&
                      request.column_begin < request.column_end && request.column_end <= columns;
  if (!inside) {
    return absl::InvalidArgumentError(
        absl::StrCat("slice rows [", request.row_begin, ", ", request.row_end, ") x columns [",
                     request.column_begin, ", ", request.column_end,
                     ") is empty or outside of tensor \"", shown, "\" of ", rows, " x ", columns));
  }
  return CheckedSlice{tensor,
                      columns,
                      SizeOf(request.type),
                      request.row_begin,
                      request.row_end,
                      request.column_begin,
                      request.column_end};
}

}  // namespace baton::loader
