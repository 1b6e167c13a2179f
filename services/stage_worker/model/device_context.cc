#include "services/stage_worker/model/device_context.h"

#include <vector>

#include "absl/strings/str_cat.h"

#include "common/tensor/aligned_buffer.h"

namespace baton::stage {

void SumOverRanks(const DeviceContext& context, int64_t num_rows) {
  const Workspace& space = *context.workspace;
  std::vector<TensorView> parts;
  parts.reserve(space.parts.size());
  for (const TensorView& part : space.parts) parts.push_back(part.Rows(0, num_rows));
  context.collectives->AllReduceSum(parts, space.summed.Rows(0, num_rows));
}

void ShowTensor(const DeviceContext& context, absl::string_view name, const TensorView& values) {
  if (context.tap == nullptr) return;
  const size_t row_bytes = static_cast<size_t>(values.columns) * SizeOf(values.type);
  AlignedBuffer host(row_bytes * static_cast<size_t>(values.rows));
  for (int64_t row = 0; row < values.rows; ++row) {
    context.ops->CopyToHost(host.data() + static_cast<size_t>(row) * row_bytes,
                            values.Rows(row, 1).data, row_bytes);
  }
  context.tap->OnTensor(name, host.AsTensor(values.type, values.rows, values.columns));
}

std::string LayerName(int64_t layer, absl::string_view suffix) {
  return absl::StrCat("layers.", layer, suffix);
}

}  // namespace baton::stage
