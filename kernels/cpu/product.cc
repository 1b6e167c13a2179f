#include "kernels/cpu/product.h"

#include <algorithm>
#include <cstring>

#include "common/log/check.h"

namespace baton::kernels::cpu {
namespace {

// Tasks per thread: enough to even out their lengths.
constexpr int64_t kTasksPerThread = 4;
// Multiplications of the smallest useful task.
constexpr int64_t kSmallestTask = 60'000;

void CopySegments(const BFloat16* from, const Segments& segments, BFloat16* to) {
  for (size_t s = 0; s < segments.lengths.size(); ++s) {
    std::memcpy(to, from, segments.lengths[s] * sizeof(BFloat16));
    std::memset(static_cast<void*>(to + segments.lengths[s]), 0,
                (segments.padded[s] - segments.lengths[s]) * sizeof(BFloat16));
    from += segments.lengths[s];
    to += segments.padded[s];
  }
}

}  // namespace

PreparedRows PrepareRows(DeviceContext& device, const TensorView& x, RowForm form) {
  if (form.segments == nullptr) return {x.data, x.type, x.row_stride};
  BATON_CHECK(x.type == DataType::kBFloat16) << Name(x.type) << " rows for a weight in pairs";
  if (form.segments->natural) return {x.data, x.type, x.row_stride};
  const int64_t stride = form.segments->padded_k;
  BFloat16* rows = device.scratch.Take<BFloat16>(x.rows * stride);
  device.ForEach(x.rows, x.num_elements() / 4, [&](int64_t row, int) {
    CopySegments(x.Row<BFloat16>(row), *form.segments, rows + row * stride);
  });
  return {rows, x.type, stride};
}

void MultiplyPanels(DeviceContext& device, int thread, const PanelRange& range) {
  for (int64_t begin = range.panel_begin; begin < range.panel_end;) {
    const int64_t end = range.weight->RunEnd(begin, range.panel_end);
    PanelProduct product = {};
    range.weight->Describe(begin, end, &product);
    product.x = range.x.data;
    product.x_bfloat16 = range.x.type == DataType::kBFloat16;
    product.scratch = device.ProductScratch(thread);
    product.x_stride = range.x.stride;
    product.row_index = range.row_index;
    product.rows = range.out.rows;
    const bool narrow = range.out.type == DataType::kBFloat16;
    product.out_type = narrow ? OutType::kBFloat16 : OutType::kFloat32;
    product.out =
        range.out.Columns((begin - range.panel_begin) * kPanelColumns, product.out_columns).data;
    product.out_stride = range.out.row_stride;
    device.kernels.product(product);
    begin = end;
  }
}

int64_t PanelsPerTask(const DeviceContext& device, const PanelWeight& weight, int64_t rows) {
  const int64_t panels = weight.num_panels();
  if (device.pool.num_threads() == 1) return std::max<int64_t>(panels, 1);
  const int64_t panel_work = std::max<int64_t>(kPanelColumns * weight.k() * rows, 1);
  const int64_t smallest = (kSmallestTask + panel_work - 1) / panel_work;
  const int64_t even = panels / (device.pool.num_threads() * kTasksPerThread);
  // A multiple of four panels fills the widest tiles.
  return std::max<int64_t>({smallest, even / 4 * 4, 1});
}

int64_t NumColumns(const PanelWeight& weight, int64_t begin, int64_t end) {
  return std::min(end * kPanelColumns, weight.n()) - begin * kPanelColumns;
}

const PanelWeight& Unpack(const PackedWeight* weight) {
  BATON_CHECK(weight != nullptr);
  return *static_cast<const PanelWeight*>(weight);
}

}  // namespace baton::kernels::cpu
