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

template <typename T>
void CopySegments(const T* from, const Segments& segments, T* to) {
  for (size_t s = 0; s < segments.lengths.size(); ++s) {
    std::memcpy(to, from, segments.lengths[s] * sizeof(T));
    std::memset(static_cast<void*>(to + segments.lengths[s]), 0,
                (segments.padded[s] - segments.lengths[s]) * sizeof(T));
    from += segments.lengths[s];
    to += segments.padded[s];
  }
}

// Columns layouts need no padding, so widened rows are dense.
void PrepareRow(const VariantKernels& kernels, const TensorView& x, int64_t row, RowForm form,
                void* to) {
  if (x.type != form.type) {
    BATON_CHECK(x.type == DataType::kBFloat16 && form.segments->natural)
        << Name(x.type) << " rows for a weight packed for " << Name(form.type);
    kernels.widen(reinterpret_cast<const uint16_t*>(x.Row<BFloat16>(row)), x.columns,
                  static_cast<float*>(to));
  } else if (x.type == DataType::kFloat32) {
    CopySegments(x.Row<float>(row), *form.segments, static_cast<float*>(to));
  } else {
    CopySegments(x.Row<BFloat16>(row), *form.segments, static_cast<BFloat16*>(to));
  }
}

}  // namespace

PreparedRows PrepareRows(DeviceContext& device, const TensorView& x, RowForm form) {
  if (x.type == form.type && form.segments->natural) return {x.data, x.row_stride};
  const int64_t stride = form.segments->padded_k;
  const int64_t row_bytes = stride * static_cast<int64_t>(SizeOf(form.type));
  std::byte* rows = device.scratch.Take<std::byte>(x.rows * row_bytes);
  device.ForEach(x.rows, x.num_elements() / 4, [&](int64_t row, int) {
    PrepareRow(device.kernels, x, row, form, rows + row * row_bytes);
  });
  return {rows, stride};
}

void MultiplyPanels(const VariantKernels& kernels, const PanelRange& range) {
  PanelProduct product = {};
  range.weight->Describe(range.panel_begin, range.panel_end, &product);
  product.x = range.x.data;
  product.x_stride = range.x.stride;
  product.row_index = range.row_index;
  product.rows = range.out.rows;
  const bool narrow = range.out.type == DataType::kBFloat16;
  product.out_type = narrow ? OutType::kBFloat16 : OutType::kFloat32;
  product.out = static_cast<std::byte*>(range.out.data) +
                range.panel_begin * kPanelColumns * SizeOf(range.out.type);
  product.out_stride = range.out.row_stride;
  kernels.product(product);
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

const PanelWeight& Unpack(const PackedWeight* weight) {
  BATON_CHECK(weight != nullptr);
  return *static_cast<const PanelWeight*>(weight);
}

}  // namespace baton::kernels::cpu
