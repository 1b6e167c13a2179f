// Rows on their way from a stream to tokens: what the output head and the MTP module share.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"
#include "kernels/api/sampling.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// Row i of `out` = the norm of row rows[i] of `x`. `out` does not overlap `x`.
void NormRows(const DeviceContext& context, const TensorView& x, std::span<const int32_t> rows,
              const TensorView& weight, const TensorView& out);

// Logits of normalised rows, at most kMaxLogitRows, in workspace.logits; the same on every device,
// and all of them call it. `head`: per local rank [vocab_size / N, hidden].
TensorView MultiplyHead(const DeviceContext& context, const TensorView& normed,
                        std::span<const PackedPtr> head);

// What `draw` asks for, constraints left out. Borrows from it.
kernels::SamplingRow SamplingRowOf(const DrawRow& draw);

}  // namespace baton::stage
