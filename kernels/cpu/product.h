// Products of rows with panels of a weight: the steps that linear layers and experts are made of.
#pragma once

#include <cstdint>

#include "common/tensor/tensor_view.h"
#include "kernels/cpu/device_context.h"
#include "kernels/cpu/panel_weight.h"

namespace baton::kernels::cpu {

// Rows in the form that products read.
struct PreparedRows {
  const void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t stride = 0;  // elements
};

// x itself if it has the form already, else a padded copy in scratch memory.
PreparedRows PrepareRows(DeviceContext& device, const TensorView& x, RowForm form);

// out = rows of x times panels [panel_begin, panel_end) of the weight.
struct PanelRange {
  PreparedRows x;
  const int32_t* row_index = nullptr;  // row r of the product is this row of x; null: row r
  const PanelWeight* weight = nullptr;
  int64_t panel_begin = 0;
  int64_t panel_end = 0;
  TensorView out;  // [rows, columns of these panels], float32 or bfloat16
};
// `thread` is the calling thread of the device's pool.
void MultiplyPanels(DeviceContext& device, int thread, const PanelRange& range);

// Panels per task that keep threads busy without making tasks tiny.
int64_t PanelsPerTask(const DeviceContext& device, const PanelWeight& weight, int64_t rows);

// Columns of panels [begin, end) of the weight; the last panel may be cut.
int64_t NumColumns(const PanelWeight& weight, int64_t begin, int64_t end);

// The weight as this backend packed it.
const PanelWeight& Unpack(const PackedWeight* weight);

}  // namespace baton::kernels::cpu
