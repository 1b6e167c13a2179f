// What the parts of one device's forward pass share, and the rows of the step under way.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/log/check.h"
#include "common/model/model_config.h"
#include "kernels/api/attention.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/activation_tap.h"
#include "services/stage_worker/model/workspace.h"

namespace baton::stage {

class DrawConstraints;

// Borrows; all must outlive the model.
struct DeviceContext {
  const ModelConfig* config = nullptr;
  kernels::Ops* ops = nullptr;
  kernels::Collectives* collectives = nullptr;
  const Workspace* workspace = nullptr;
  int num_ranks = 1;   // of the stage
  int first_rank = 0;  // of the device
  ActivationTap* tap = nullptr;
  // Whether steps of few rows run in graphs: the same on all devices of the stage. Not with a tap,
  // which the first device alone has.
  bool runs_graphs = false;
  // Of the last stage's device of rank 0, which draws; may be null.
  DrawConstraints* constraints = nullptr;
};

// The rows of a step, in device memory.
struct StepRows {
  int64_t num_tokens = 0;
  std::span<const uint32_t> token_ids;
  kernels::StepLayout layout;
  // In host memory: the rows that attend in the expanded form (StepBatch::expanded_rows).
  std::span<const RowRange> expanded_rows;
};

// Copies host values to the front of a device array; returns that part.
template <typename T>
std::span<const T> Upload(kernels::Ops* ops, const std::vector<T>& host, std::span<T> device) {
  BATON_CHECK(host.size() <= device.size()) << host.size() << " of " << device.size();
  ops->CopyToDevice(device.data(), host.data(), host.size() * sizeof(T));
  return device.first(host.size());
}

// Adds up the first `num_rows` rows of the device's parts with those of all other ranks, in rank
// order, into workspace.summed.
void SumOverRanks(const DeviceContext& context, int64_t num_rows);

// Shows a tensor of device memory to the tap; nothing without one.
void ShowTensor(const DeviceContext& context, absl::string_view name, const TensorView& values);

// "layers.<layer><suffix>"
std::string LayerName(int64_t layer, absl::string_view suffix);

}  // namespace baton::stage
